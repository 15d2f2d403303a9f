package tracing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// count returns how many spans arrived.
func (c *receiver) count(t *testing.T) (n int) {
	t.Helper()
	for _, resource := range c.resources(t) {
		for _, scope := range resource.GetScopeSpans() {
			n += len(scope.GetSpans())
		}
	}
	return n
}

func (c *receiver) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies)
}

// answered is what a collector says, which may repeat headers.
const answered = "s3cret: answer"

// transportFunc is a collector without a network, for bubbles.
type transportFunc func(*http.Request) (int, error)

// RoundTrip implements [http.RoundTripper].
func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, answered), Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(answered)), Request: r,
	}, nil
}

// hang is a collector that takes the connection and never answers.
func hang(r *http.Request) (int, error) {
	<-r.Context().Done()
	return 0, r.Context().Err()
}

func newTracer(t *testing.T, config tracing.Config) *tracing.Tracer {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	tracer, err := tracing.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func newTracerTo(t *testing.T, transport transportFunc) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.NewTo(t.Context(), tracing.Config{
		Endpoint: "http://collector.example.com/v1/traces", Logger: slog.New(slog.DiscardHandler),
	}, transport)
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

// A collector gets the headers of the file and the resource.
func TestCollector(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	headers := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(headers, []byte("Authorization: Bearer s3cret\r\nX-Scope: a:b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tracer := newTracer(t, tracing.Config{Endpoint: server.URL + "/otlp/v1/traces", HeadersFile: headers, Version: "v1.2.3"})
	trace(t, tracer, 3)
	if text := fmt.Sprintf("%+v %#v", tracer, tracer); strings.Contains(text, "s3cret") {
		t.Errorf("the secret is in %s", text)
	}
	shutdown(t, tracer)
	if c.requests() != 1 {
		t.Fatalf("there were %d requests, want one with the whole batch", c.requests())
	}
	if got := c.headers[0]; c.paths[0] != "/otlp/v1/traces" || got.Get("Authorization") != "Bearer s3cret" || got.Get("X-Scope") != "a:b" || got.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("the collector got %s with %v", c.paths[0], got)
	}
	if got := c.resource(t); got["service.name"] != "customersession" || got["service.version"] != "v1.2.3" {
		t.Errorf("the resource is %v", got)
	}
	if got := c.count(t); got != 3 {
		t.Errorf("%d spans arrived, want 3", got)
	}
}

// A collector that fails costs the batch, which is logged once, with the reason
// and nothing that the collector said.
func TestCollectorDown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func() (int, error)
		want   string
	}{
		{"resets connections", func() (int, error) { return 0, io.ErrUnexpectedEOF }, "unexpected EOF"},
		{"answers 503", func() (int, error) { return http.StatusServiceUnavailable, nil }, "is overloaded"},
		{"answers 401", func() (int, error) { return http.StatusUnauthorized, nil }, "answers with status 401"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkDown(t, test.answer, test.want)
		})
	}
}

func checkDown(t *testing.T, answer func() (int, error), want string) {
	t.Helper()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		var log bytes.Buffer
		var up atomic.Bool
		tracer, err := tracing.NewTo(t.Context(), tracing.Config{
			Endpoint: "https://user-path.example.com/t0ken", Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		}, transportFunc(func(*http.Request) (int, error) {
			if up.Load() {
				return http.StatusOK, nil
			}
			return answer()
		}))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			trace(t, tracer, 5)
			time.Sleep(5 * time.Minute)
		}
		up.Store(true)
		trace(t, tracer, 5)
		time.Sleep(5 * time.Minute)
		shutdown(t, tracer)
		text := log.String()
		if strings.Count(text, "traces are lost") != 1 || strings.Count(text, "exported again") != 1 || !strings.Contains(text, want) {
			t.Errorf("the log is %s, want %q", text, want)
		}
		if strings.Contains(text, "t0ken") || strings.Contains(text, answered) {
			t.Errorf("the log repeats the URL or the answer: %s", text)
		}
	})
}

// A redirect would carry the headers elsewhere.
func TestCollectorRedirects(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	elsewhere := httptest.NewServer(c)
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	var log bytes.Buffer
	tracer, err := tracing.New(t.Context(), tracing.Config{Endpoint: server.URL, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	trace(t, tracer, 1)
	shutdown(t, tracer)
	if c.requests() != 0 || !strings.Contains(log.String(), "the collector redirects, which is not followed") {
		t.Errorf("there were %d requests elsewhere; the log is %s", c.requests(), log.String())
	}
}

// A collector that never answers delays no request, however much waits; the end
// waits for five seconds.
func TestCollectorSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		tracer := newTracerTo(t, hang)
		start := time.Now()
		trace(t, tracer, 10_000)
		if took := time.Since(start); took != 0 {
			t.Errorf("ending spans took %s, want nothing", took)
		}
		start = time.Now()
		if err := tracer.Shutdown(context.WithoutCancel(t.Context())); err == nil {
			t.Error("there is no error, though spans were given up")
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("shutting down took %s, want 5s", took)
		}
	})
}

// The environment decides about the resource and the sampler.
func TestStandardVariables(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=issuer-1,service.version=2")
	t.Setenv("OTEL_SERVICE_NAME", "sessions")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer := newTracer(t, tracing.Config{Endpoint: server.URL, Version: "1"})
	trace(t, tracer, 20)
	trace(t, tracer, 2, "Traceparent", sampled)
	shutdown(t, tracer)
	got := c.resource(t)
	if got["k8s.pod.name"] != "issuer-1" || got["service.name"] != "sessions" || got["service.version"] != "2" {
		t.Errorf("the resource is %v", got)
	}
	if got := c.count(t); got != 2 {
		t.Errorf("%d spans arrived, want the 2 that the callers trace", got)
	}

	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "s3cret")
	_, err := tracing.New(t.Context(), tracing.Config{Endpoint: server.URL, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "OTEL_RESOURCE_ATTRIBUTES is not a list") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want an error that does not repeat the variable", err)
	}
}
