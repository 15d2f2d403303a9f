package tracing_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/customersession/customersession/issuer/internal/tracing"
)

// A receiver is a collector: it takes OTLP over HTTP and keeps what it gets.
type receiver struct {
	mu      sync.Mutex
	headers []http.Header
	paths   []string
	bodies  [][]byte
}

// ServeHTTP implements [http.Handler].
func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers, c.paths, c.bodies = append(c.headers, r.Header), append(c.paths, r.URL.Path), append(c.bodies, body)
}

// resources returns what was sent in all requests.
func (c *receiver) resources(t *testing.T) []*tracepb.ResourceSpans {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*tracepb.ResourceSpans
	for _, body := range c.bodies {
		var data tracepb.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Fatalf("what arrived is not OTLP: %v", err)
		}
		if len(data.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("what arrived has fields that OTLP does not have: %x", data.ProtoReflect().GetUnknown())
		}
		all = append(all, data.GetResourceSpans()...)
	}
	return all
}

// resource returns the attributes of the first resource.
func (c *receiver) resource(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, attribute := range c.resources(t)[0].GetResource().GetAttributes() {
		all[attribute.GetKey()] = attribute.GetValue().GetStringValue()
	}
	return all
}

// spans returns the spans that arrived, by name.
func (c *receiver) spans(t *testing.T) map[string]*tracepb.Span {
	t.Helper()
	byName := map[string]*tracepb.Span{}
	for _, resource := range c.resources(t) {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				byName[span.GetName()] = span
			}
		}
	}
	return byName
}

func (c *receiver) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies)
}

// transportFunc is a collector without a network, for bubbles.
type transportFunc func(*http.Request) (int, error)

// RoundTrip implements [http.RoundTripper].
func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// hang is a collector that takes the connection and never answers.
func hang(r *http.Request) (int, error) {
	<-r.Context().Done()
	return 0, r.Context().Err()
}

func newTracer(t *testing.T, config tracing.Config) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func newTracerTo(t *testing.T, transport transportFunc) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.NewForTest(tracing.Config{Endpoint: "http://collector.example.com", Ratio: 1}, transport)
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func shutdown(t *testing.T, tracer *tracing.Tracer) {
	t.Helper()
	if err := tracer.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// request makes a request with headers, pairs of name and value.
func request(t testing.TB, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/customer-sessions/?token=secret", http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// trace makes the spans of a few requests.
func trace(t testing.TB, tracer *tracing.Tracer, n int, headers ...string) {
	t.Helper()
	for range n {
		_, span := tracer.StartRequest(request(t, headers...), http.MethodPost, "/v1/customer-sessions/")
		span.EndRequest(http.StatusCreated)
	}
}

// A collector gets the headers and the resource, at the path that is usual
// where the endpoint has none.
func TestCollector(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ endpoint, path string }{
		{"", "/v1/traces"},
		{"/", "/v1/traces"},
		{"/otlp/v1/traces", "/otlp/v1/traces"},
	} {
		t.Run(test.endpoint, func(t *testing.T) {
			t.Parallel()
			c := &receiver{}
			server := httptest.NewServer(c)
			defer server.Close()
			headers, err := tracing.ParseHeaders("Authorization: Bearer s3cret\nContent-Type: text/plain\n")
			if err != nil {
				t.Fatal(err)
			}
			tracer := newTracer(t, tracing.Config{
				Endpoint: server.URL + test.endpoint, Headers: headers, Ratio: 1, Version: "v1.2.3",
			})
			trace(t, tracer, 3)
			shutdown(t, tracer)
			if c.requests() != 1 {
				t.Fatalf("there were %d requests, want one with the whole batch", c.requests())
			}
			if c.paths[0] != test.path || c.headers[0].Get("Authorization") != "Bearer s3cret" || c.headers[0].Get("Content-Type") != "application/x-protobuf" {
				t.Errorf("the collector got %s with %v", c.paths[0], c.headers[0])
			}
			if resource := c.resource(t); resource["service.name"] != "customersession" || resource["service.version"] != "v1.2.3" {
				t.Errorf("the resource is %v", resource)
			}
			if got, want := tracer.Stats(), (tracing.Stats{Exported: 3}); got != want {
				t.Errorf("stats are %+v, want %+v", got, want)
			}
		})
	}
}

// A collector that is down is tried again; then the batch is lost, which is
// counted, logged once, and nobody's failure.
func TestCollectorDown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func() (int, error)
		tries  int64
	}{
		{"refuses connections", func() (int, error) { return 0, io.ErrUnexpectedEOF }, 3},
		{"answers 503", func() (int, error) { return http.StatusServiceUnavailable, nil }, 3},
		{"answers 401", func() (int, error) { return http.StatusUnauthorized, nil }, 1},
		{"redirects", func() (int, error) { return http.StatusTemporaryRedirect, nil }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkDown(t, test.answer, test.tries)
		})
	}
}

func checkDown(t *testing.T, answer func() (int, error), want int64) {
	t.Helper()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		var log bytes.Buffer
		var up atomic.Bool
		var tries atomic.Int64
		tracer, err := tracing.NewForTest(tracing.Config{
			Endpoint: "https://user-path.example.com/t0ken", Ratio: 1,
			Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		}, transportFunc(func(*http.Request) (int, error) {
			tries.Add(1)
			if up.Load() {
				return http.StatusOK, nil
			}
			return answer()
		}))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			trace(t, tracer, 5)
			time.Sleep(20 * time.Second)
		}
		if got := tries.Load(); got != 2*want {
			t.Errorf("there were %d attempts for two batches, want %d", got, 2*want)
		}
		up.Store(true)
		trace(t, tracer, 5)
		time.Sleep(20 * time.Second)
		shutdown(t, tracer)
		if got, want := tracer.Stats(), (tracing.Stats{Exported: 5, Failed: 10}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		if text := log.String(); strings.Count(text, "traces are lost") != 1 || strings.Count(text, "exported again") != 1 || strings.Contains(text, "t0ken") {
			t.Errorf("the log is %s", text)
		}
	})
}

// Where the collector does not answer the queue fills up; what comes then is
// dropped and counted, and nobody waits. The end waits for five seconds.
func TestCollectorSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		tracer := newTracerTo(t, hang)
		start := time.Now()
		const more = 100
		trace(t, tracer, tracing.MaxWaitingForTest+more)
		if took := time.Since(start); took != 0 {
			t.Errorf("ending spans took %s, want nothing", took)
		}
		if got, want := tracer.Stats(), (tracing.Stats{Dropped: more}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
		start = time.Now()
		if err := tracer.Shutdown(context.WithoutCancel(t.Context())); err == nil {
			t.Error("there is no error, though spans were given up")
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("shutting down took %s, want 5s", took)
		}
		// The batches that are left end by themselves.
		time.Sleep(2 * time.Minute)
		if got, want := tracer.Stats(), (tracing.Stats{Failed: tracing.MaxWaitingForTest, Dropped: more}); got != want {
			t.Errorf("in the end stats are %+v, want %+v", got, want)
		}
	})
}

// Spans wait for a full batch or five seconds, and the end waits for all.
func TestBatches(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		var requests atomic.Int64
		tracer := newTracerTo(t, func(*http.Request) (int, error) { requests.Add(1); return http.StatusOK, nil })
		trace(t, tracer, 10)
		time.Sleep(4 * time.Second)
		if got := requests.Load(); got != 0 {
			t.Errorf("after 4s there were %d requests, want none", got)
		}
		time.Sleep(2 * time.Second)
		if got := requests.Load(); got != 1 {
			t.Errorf("after 6s there were %d requests, want one", got)
		}
		trace(t, tracer, 1100)
		shutdown(t, tracer)
		if got := requests.Load(); got != 4 {
			t.Errorf("in the end there were %d requests, want 4", got)
		}
		if got, want := tracer.Stats(), (tracing.Stats{Exported: 1110}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
	})
}

// The environment may add to the resource, as the SDK has it, and not take the
// name of the service.
func TestResourceOfEnvironment(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=issuer-1,service.name=other")
	t.Setenv("OTEL_SERVICE_NAME", "other")
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer := newTracer(t, tracing.Config{Endpoint: server.URL, Ratio: 1})
	trace(t, tracer, 1)
	shutdown(t, tracer)
	got := c.resource(t)
	if got["k8s.pod.name"] != "issuer-1" || got["service.name"] != "customersession" {
		t.Errorf("the resource is %v", got)
	}
}
