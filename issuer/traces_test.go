package issuer_test

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/tracing"
	"github.com/customersession/customersession/keys/jwk"
)

// The example of W3C Trace Context.
const (
	callersTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersParent = "00f067aa0ba902b7"
	traceparent   = "00-" + callersTrace + "-" + callersParent + "-01"
)

// A traceCollector takes OTLP over HTTP and keeps what it gets.
type traceCollector struct {
	*httptest.Server

	mu            sync.Mutex
	authorization []string
	bodies        [][]byte
}

func newTraceCollector(t testing.TB) *traceCollector {
	t.Helper()
	c := &traceCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.authorization, c.bodies = append(c.authorization, r.Header.Get("Authorization")), append(c.bodies, body)
	}))
	t.Cleanup(c.Close)
	return c
}

// received returns the spans that arrived, and all bytes that did.
func (c *traceCollector) received(t testing.TB) (spans []*tracepb.Span, raw string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, body := range c.bodies {
		all.Write(body)
		var data tracepb.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Fatalf("what arrived is not OTLP: %v", err)
		}
		for _, resource := range data.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				spans = append(spans, scope.GetSpans()...)
			}
		}
	}
	return spans, all.String()
}

// named returns the one span of that name.
func named(t *testing.T, spans []*tracepb.Span, name string) *tracepb.Span {
	t.Helper()
	i := slices.IndexFunc(spans, func(s *tracepb.Span) bool { return s.GetName() == name })
	if i < 0 {
		t.Fatalf("there is no span %q in %v", name, spans)
	}
	return spans[i]
}

// tracedDirectory is a customer server that keeps the trace context it is
// asked with, and a directory that asks it.
func tracedDirectory(t testing.TB) (customers.Directory, <-chan http.Header) {
	t.Helper()
	asked := make(chan http.Header, 10)
	line, _, _ := strings.Cut(customerLines, "\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		_, _ = io.WriteString(w, line)
	}))
	t.Cleanup(server.Close)
	directory, err := customers.NewHTTP(customers.HTTPConfig{
		BaseURL: server.URL, Token: "directory-s3cret", Headers: tracing.Inject,
	})
	if err != nil {
		t.Fatal(err)
	}
	return directory, asked
}

// traced lets a fixture trace to the collector.
func traced(t testing.TB, c *traceCollector) func(*fixtureOptions) {
	t.Helper()
	return func(o *fixtureOptions) {
		o.change = func(config *issuer.Config) {
			var err error
			config.Tracer, err = tracing.New(t.Context(), tracing.Config{Endpoint: c.URL, Logger: config.Logger})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// One request makes spans that belong to the caller's trace, and the customer
// server is asked on behalf of one of them. They arrive at the latest when the
// server has ended.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := newTraceCollector(t)
	directory, asked := tracedDirectory(t)
	f := newFixture(t, traced(t, c), func(o *fixtureOptions) { o.directory = directory })
	a := f.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`,
		"Authorization", "Bearer "+f.secret, "Traceparent", traceparent, "Tracestate", "shop=checkout")
	if a.status != http.StatusCreated {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	f.shutdown()
	spans, raw := c.received(t)
	request, lookup, signing := named(t, spans, "POST "+createPath), named(t, spans, "find customer"), named(t, spans, "sign token")
	for span, parent := range map[*tracepb.Span]string{
		request: callersParent, lookup: hex.EncodeToString(request.GetSpanId()), signing: hex.EncodeToString(request.GetSpanId()),
	} {
		if hex.EncodeToString(span.GetTraceId()) != callersTrace || hex.EncodeToString(span.GetParentSpanId()) != parent {
			t.Errorf("span %s has trace %x and parent %x, want %s and %s", span.GetName(), span.GetTraceId(), span.GetParentSpanId(), callersTrace, parent)
		}
	}
	passed := <-asked
	if want := "00-" + callersTrace + "-" + hex.EncodeToString(lookup.GetSpanId()) + "-01"; passed.Get("Traceparent") != want || passed.Get("Tracestate") != "shop=checkout" {
		t.Errorf("the customer server was asked with %v, want %s", passed, want)
	}
	checkLine(t, f.requestLine(t, a.header.Get("X-Request-Id")), map[string]any{"trace_id": callersTrace})
	kid := segment(t, a.text(t, "token"), 0)["kid"].(string)
	if !strings.Contains(raw, kid) || !strings.Contains(raw, "ES256") {
		t.Error("the span of signing does not say with what")
	}
	f.checkExport(t, raw, a.text(t, "id"))
	checkTracesReference(t, spans)
}

// checkTracesReference fails the test when the page for operators does not
// mention something in the spans.
func checkTracesReference(t *testing.T, spans []*tracepb.Span) {
	t.Helper()
	page, err := os.ReadFile("../deploy/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, span := range spans {
		names := []string{strings.ReplaceAll(span.GetName(), createPath, "/v1/…")}
		for _, attribute := range span.GetAttributes() {
			names = append(names, attribute.GetKey())
		}
		for _, name := range names {
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("deploy/tracing.md does not mention %s", name)
			}
		}
	}
}

// checkExport fails the test when there is a secret or something of a customer
// in what was exported.
func (f *fixture) checkExport(t testing.TB, raw string, more ...string) {
	t.Helper()
	f.checkSecrets(t, "the export", raw)
	for _, text := range append(more, customerID, externalID, "ada@example.com", "Ada Lovelace", "directory-s3cret", "?token", "shop", "127.0.0.1") {
		if strings.Contains(raw, text) {
			t.Errorf("the export holds %q", text)
		}
	}
}

// Whatever is sent wherever, none of it is exported.
func TestTracesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	c := newTraceCollector(t)
	f := newFixture(t, traced(t, c))
	session := f.createAny(t)
	for _, secret := range []string{f.secret, session.text(t, "token")} {
		f.sendEverywhere(t, secret)
		for _, headers := range [][]string{
			{"Traceparent", secret},
			{"Traceparent", traceparent, "Tracestate", "shop=" + secret[:min(len(secret), 200)]},
			{"Traceparent", traceparent, "Baggage", "shop=" + secret},
			{"Traceparent", traceparent + "-" + secret},
		} {
			roundTrip(t, f.request(t, http.MethodPost, createPath+"?"+secret, `{"customer_id":"`+customerID+`"}`,
				append(headers, "Authorization", "Bearer "+f.secret)...))
		}
	}
	f.shutdown()
	spans, raw := c.received(t)
	if len(spans) < 100 {
		t.Errorf("there are %d spans: is there all?", len(spans))
	}
	f.checkExport(t, raw, session.text(t, "id"))
}

// Where traces are off the caller's context is passed on as it came, and the
// log has its ID; without one nothing is made up.
func TestTracesOff(t *testing.T) {
	t.Parallel()
	directory, asked := tracedDirectory(t)
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directory })
	create := func(headers ...string) (id string, passed http.Header) {
		a := f.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`, append(headers, "Authorization", "Bearer "+f.secret)...)
		return a.header.Get("X-Request-Id"), <-asked
	}
	with, passed := create("Traceparent", traceparent, "Tracestate", "shop=checkout")
	if passed.Get("Traceparent") != traceparent || passed.Get("Tracestate") != "shop=checkout" {
		t.Errorf("the customer server was asked with %v, want what the caller sent", passed)
	}
	without, passed := create()
	if passed.Get("Traceparent") != "" {
		t.Errorf("the customer server was asked with %v, want no trace", passed)
	}
	checkLine(t, f.requestLine(t, with), map[string]any{"trace_id": callersTrace})
	if line := f.requestLine(t, without); line["trace_id"] != nil {
		t.Errorf("the log has a trace ID: %v", line)
	}
}

// A collector that never answers costs no request anything, and the end is not
// kept up for longer than the flush may take.
func TestTracesWithoutCollector(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"down": nil,
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collector := &traceCollector{Server: httptest.NewServer(handler)}
			defer collector.Close()
			if handler == nil {
				collector.Close()
			}
			f := newFixture(t, traced(t, collector))
			for range 20 {
				f.createAny(t)
			}
			start := time.Now()
			f.shutdown()
			// Five seconds for the flush, and time for a busy machine.
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("shutting down took %s", took)
			}
			if !strings.Contains(f.logs.String(), "traces are lost") {
				t.Error("the log does not say that traces are lost")
			}
		})
	}
}

// The settings of a production server lead to the collector, with credentials
// from a file.
func TestTracesOfSettings(t *testing.T) {
	t.Parallel()
	c := newTraceCollector(t)
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.TracesEndpoint, o.settings.Version = c.URL, "v1.2.3"
	o.settings.TracesHeadersFile = filepath.Join(t.TempDir(), "headers")
	write(t, o.settings.TracesHeadersFile, "Authorization: Basic collector-s3cret\n")
	o.start(t, nil)
	o.createAny(t)
	o.shutdown()
	spans, raw := c.received(t)
	if len(spans) < 3 || !strings.Contains(raw, "v1.2.3") {
		t.Errorf("there are %d spans, of %q", len(spans), raw)
	}
	if len(c.authorization) == 0 || c.authorization[0] != "Basic collector-s3cret" {
		t.Errorf("the collector got the credentials %q", c.authorization)
	}
	if strings.Contains(o.logs.String(), "collector-s3cret") {
		t.Error("the log has the credentials")
	}
}

// The variables of the page for operators, with only the collector and the file
// replaced, lead to the collector.
func TestTracingPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../deploy/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	c, headers := newTraceCollector(t), filepath.Join(t.TempDir(), "headers")
	write(t, headers, strings.ReplaceAll(block(t, string(page), "text"), "…", "collector-s3cret"))
	var env []string
	for _, export := range regexp.MustCompile(`(?m)^export (\w+)=(.*)$`).FindAllStringSubmatch(string(page), -1) {
		value := export[2]
		switch export[1] {
		case "OTEL_EXPORTER_OTLP_ENDPOINT":
			value = c.URL
		case "CUSTOMERSESSION_TRACES_HEADERS_FILE":
			value = headers
		}
		env = append(env, export[1]+"="+value)
	}
	p := serve(t, install(t, "https://sessions.example.com"), env...)
	p.public.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`, "Authorization", "Bearer "+p.secret, "Traceparent", traceparent)
	p.signal(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	spans, _ := c.received(t)
	if len(spans) != 3 || len(c.authorization) == 0 || c.authorization[0] != "Bearer collector-s3cret" {
		t.Errorf("there are %d spans, with the credentials %q", len(spans), c.authorization)
	}
	if strings.Contains(p.stderr.String(), "collector-s3cret") {
		t.Error("the log has the credentials")
	}
}

// A file of headers that cannot be used keeps the server from starting, and is
// not repeated.
func TestTracesHeadersRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ content, want string }{
		"no header": {"s3cret", "is not a list of headers"},
		"empty":     {"\n", "is not a list of headers"},
		"missing":   {"", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newFiles(t, newManifest(t, jwk.ES256))
			o.settings.TracesEndpoint = "https://collector.example.com"
			o.settings.TracesHeadersFile = filepath.Join(t.TempDir(), "headers")
			if test.content != "" {
				write(t, o.settings.TracesHeadersFile, test.content)
			}
			_, err := issuer.Open(t.Context(), o.settings, nil, nil)
			if err == nil || !strings.Contains(err.Error(), "loading traces: ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// BenchmarkTraces shows what tracing costs a session: off, one in a hundred
// traced, and all of them. The machine's speed drifts, so they take turns.
func BenchmarkTraces(b *testing.B) {
	c := newTraceCollector(b)
	off, all := newFixture(b), newFixture(b, traced(b, c))
	b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	b.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.01")
	some := newFixture(b, traced(b, c))
	servers := []struct {
		name string
		*fixture
		took time.Duration
	}{{"off", off, 0}, {"1%", some, 0}, {"100%", all, 0}}
	const batch = 200
	for b.Loop() {
		for i := range servers {
			start := time.Now()
			load(b, servers[i].base, servers[i].secret, 2, batch)
			servers[i].took += time.Since(start)
		}
	}
	for _, s := range servers {
		b.ReportMetric(float64(s.took.Microseconds())/float64(b.N*2*batch), s.name+"-µs/session")
	}
	b.ReportMetric(0, "ns/op")
}

// handlerAllocations is what creating a session allocates in the handler.
func handlerAllocations(t *testing.T, f *fixture) float64 {
	t.Helper()
	handler := f.server.Handler()
	return testing.AllocsPerRun(200, func() {
		request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, createPath, strings.NewReader(`{"customer_id":"`+customerID+`"}`))
		request.Header.Set("Authorization", "Bearer "+f.secret)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusCreated {
			t.Errorf("got %d %s", recorder.Code, recorder.Body)
		}
	})
}

// What tracing allocates for a session it allocates only where it is on: see
// also the test in package tracing, in which off allocates nothing at all.
func TestTracesAllocations(t *testing.T) {
	c := newTraceCollector(t)
	off, on := newFixture(t), newFixture(t, traced(t, c))
	without, with := handlerAllocations(t, off), handlerAllocations(t, on)
	t.Logf("a session takes %v allocations without traces and %v with them", without, with)
	if with <= without {
		t.Errorf("a session takes %v allocations without traces and %v with them: are they on?", without, with)
	}
}
