package tracing_test

import (
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/customersession/customersession/issuer/internal/tracing"
)

// The example of W3C Trace Context, Section 3.2, and one that is not sampled.
const (
	traceID   = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID  = "00f067aa0ba902b7"
	sampled   = "00-" + traceID + "-" + parentID + "-01"
	unsampled = "00-" + traceID + "-" + parentID + "-00"
)

func inBubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// attributes returns those of a span, as text.
func attributes(span *tracepb.Span) map[string]string {
	all := map[string]string{}
	for _, attribute := range span.GetAttributes() {
		all[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		if attribute.GetKey() == "http.response.status_code" {
			all[attribute.GetKey()] = http.StatusText(int(attribute.GetValue().GetIntValue()))
		}
	}
	return all
}

func checkAttributes(t *testing.T, span *tracepb.Span, want map[string]string) {
	t.Helper()
	got := attributes(span)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("span %s: %s is %q, want %q", span.GetName(), name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("span %s has the attributes %v, want %v", span.GetName(), got, want)
	}
}

// Spans belong to the caller's trace and to each other, say what they may, and
// nothing else.
func TestSpans(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer := newTracer(t, tracing.Config{Endpoint: server.URL})
	r, span := tracer.StartRequest(request(t, "Traceparent", sampled, "Tracestate", "vendor=s3cret"), http.MethodPost, "/v1/customer-sessions/")
	if got := span.TraceID(); got != traceID {
		t.Errorf("the trace is %q, want %q", got, traceID)
	}
	ctx, lookup := tracer.StartLookup(r.Context())
	passed := http.Header{}
	tracing.Inject(ctx, passed)
	lookup.EndLookup("unavailable", true)
	_, signing := tracer.StartSigning(r.Context())
	signing.EndSigning("ES256", "kid1", false)
	span.EndRequest(http.StatusServiceUnavailable)
	shutdown(t, tracer)

	spans := c.spans(t)
	parent, found, signed := spans["POST /v1/customer-sessions/"], spans["find customer"], spans["sign token"]
	if len(spans) != 3 || parent == nil || found == nil || signed == nil {
		t.Fatalf("the spans are %v", spans)
	}
	for _, s := range spans {
		want := parent.GetSpanId()
		if s == parent {
			want, _ = hex.DecodeString(parentID)
		}
		if hex.EncodeToString(s.GetTraceId()) != traceID || string(s.GetParentSpanId()) != string(want) {
			t.Errorf("span %s has trace %x and parent %x, want %s and %x", s.GetName(), s.GetTraceId(), s.GetParentSpanId(), traceID, want)
		}
	}
	checkAttributes(t, parent, map[string]string{
		"http.request.method": "POST", "http.route": "/v1/customer-sessions/",
		"http.response.status_code": "Service Unavailable", "error.type": "503",
	})
	checkAttributes(t, found, map[string]string{"customersession.lookup.result": "unavailable", "error.type": "unavailable"})
	checkAttributes(t, signed, map[string]string{"customersession.key.algorithm": "ES256", "customersession.key.id": "kid1"})
	if parent.GetKind() != tracepb.Span_SPAN_KIND_SERVER || parent.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR ||
		signed.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("kind and status are wrong: %v, %v", parent, signed)
	}
	want := "00-" + traceID + "-" + hex.EncodeToString(found.GetSpanId()) + "-01"
	if passed.Get("Traceparent") != want || passed.Get("Tracestate") != "vendor=s3cret" {
		t.Errorf("passed on is %v, want %s and the state", passed, want)
	}
	for _, body := range c.bodies {
		if strings.Contains(string(body), "s3cret") {
			t.Error("the caller's state was exported")
		}
	}
}

// The caller decides; where it does not, everything is traced by default.
func TestSampling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		parent []string
		want   int
	}{
		{"no caller's", nil, 50},
		{"the caller's", []string{"Traceparent", sampled}, 50},
		{"not the caller's", []string{"Traceparent", unsampled}, 0},
		{"invalid", []string{"Traceparent", "00-" + traceID + "-" + parentID}, 50},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &receiver{}
			server := httptest.NewServer(c)
			defer server.Close()
			tracer := newTracer(t, tracing.Config{Endpoint: server.URL})
			trace(t, tracer, 50, test.parent...)
			shutdown(t, tracer)
			if got := c.count(t); got != test.want {
				t.Errorf("%d spans were exported, want %d", got, test.want)
			}
		})
	}
}

// Callers cannot ask for more traces than a bounded number a second, and what is
// not traced is not asked of others.
func TestSamplingLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		t.Helper()
		tracer := newTracerTo(t, func(*http.Request) (int, error) { return http.StatusOK, nil })
		for range 2 {
			traced := 0
			for range 10 * tracing.MaxAsked {
				r, span := tracer.StartRequest(request(t, "Traceparent", sampled), http.MethodPost, "/")
				passed := http.Header{}
				tracing.Inject(r.Context(), passed)
				if strings.HasSuffix(passed.Get("Traceparent"), "-01") {
					traced++
				}
				if span.TraceID() != traceID {
					t.Fatalf("the trace is %q, want %q", span.TraceID(), traceID)
				}
				span.EndRequest(http.StatusOK)
			}
			if traced != tracing.MaxAsked {
				t.Errorf("%d requests are traced, want %d", traced, tracing.MaxAsked)
			}
			time.Sleep(time.Second)
		}
		shutdown(t, tracer)
	})
}

// Where traces are off, the caller's context is passed on as it came, if it is
// one.
func TestOffPassesOn(t *testing.T) {
	t.Parallel()
	var off *tracing.Tracer
	for _, test := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"none", nil, ""},
		{"sampled", []string{"Traceparent", sampled}, sampled},
		{"not sampled", []string{"Traceparent", unsampled}, unsampled},
		{"of a later version", []string{"Traceparent", "cc" + sampled[2:] + "-what"}, sampled},
		{"two", []string{"Traceparent", sampled, "Traceparent", unsampled}, ""},
		{"empty", []string{"Traceparent", ""}, ""},
		{"no trace", []string{"Traceparent", "00-" + strings.Repeat("0", 32) + "-" + parentID + "-01"}, ""},
		{"upper case", []string{"Traceparent", strings.ToUpper(sampled)}, ""},
		{"longer", []string{"Traceparent", sampled + "-secret"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, span := off.StartRequest(request(t, append(test.headers, "Tracestate", "a=1,b=2")...), http.MethodPost, "/")
			ctx, lookup := off.StartLookup(r.Context())
			passed := http.Header{}
			tracing.Inject(ctx, passed)
			lookup.EndLookup("found", false)
			span.EndRequest(http.StatusOK)
			state, id := "", ""
			if test.want != "" {
				state, id = "a=1,b=2", traceID
			}
			if passed.Get("Traceparent") != test.want || passed.Get("Tracestate") != state {
				t.Errorf("passed on is %v, want %q and %q", passed, test.want, state)
			}
			if got := span.TraceID(); got != id {
				t.Errorf("the trace is %q, want %q", got, id)
			}
		})
	}
}

// requestOff is all that tracing does for a request while it is off.
func requestOff(off *tracing.Tracer, r *http.Request, header http.Header) bool {
	same, span := off.StartRequest(r, http.MethodPost, "/v1/customer-sessions/")
	ctx, lookup := off.StartLookup(same.Context())
	tracing.Inject(ctx, header)
	lookup.EndLookup("found", false)
	_, signing := off.StartSigning(same.Context())
	signing.EndSigning("ES256", "kid1", false)
	span.EndRequest(http.StatusCreated)
	return same == r && span.TraceID() == ""
}

// Off costs nothing: not one allocation, nor another request.
func TestOffAllocations(t *testing.T) {
	var off *tracing.Tracer
	r, header := request(t, "Authorization", "Bearer x", "Content-Type", "application/json"), http.Header{}
	if n := testing.AllocsPerRun(1000, func() {
		if !requestOff(off, r, header) {
			t.Error("the request is another one, or has a trace")
		}
	}); n != 0 {
		t.Errorf("a request costs %v allocations, want none", n)
	}
	if len(header) != 0 {
		t.Errorf("headers are passed on: %v", header)
	}
	shutdown(t, off)
}

func BenchmarkOff(b *testing.B) {
	var off *tracing.Tracer
	r, header := request(b, "Authorization", "Bearer x", "Content-Type", "application/json"), http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		requestOff(off, r, header)
	}
}
