package tracing

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// A Span is work in progress. The zero Span is not recorded. End each one once,
// with the method for its kind of work.
type Span struct{ span trace.Span }

// StartRequest starts the span of a request, as a child of the one that the
// caller sent. It returns the request with a context that holds the new span, or
// the caller's if t is nil. Method and route become the name of the span; the
// route is a pattern, never the path, and empty if none matched.
func (t *Tracer) StartRequest(r *http.Request, method, route string) (*http.Request, Span) {
	if _, sent := r.Header[parentHeader]; t == nil && !sent {
		return r, Span{}
	}
	ctx := accept(r)
	if t == nil {
		return r.WithContext(ctx), Span{trace.SpanFromContext(ctx)}
	}
	ctx = t.limit(ctx)
	name, attributes := method, []attribute.KeyValue{attribute.String("http.request.method", method)}
	if route != "" {
		name, attributes = method+" "+route, append(attributes, attribute.String("http.route", route))
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	return r.WithContext(ctx), Span{span}
}

// limit returns ctx with the caller's wish to be traced removed, if too many
// callers have it.
func (t *Tracer) limit(ctx context.Context) context.Context {
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsSampled() || t.asked.Allow() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, parent.WithTraceFlags(parent.TraceFlags().WithSampled(false)))
}

// EndRequest ends the span of a request that was answered with the status.
func (s Span) EndRequest(status int) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		s.fail(strconv.Itoa(status))
	}
	s.span.End()
}

// StartLookup starts the span of looking a customer up.
func (t *Tracer) StartLookup(ctx context.Context) (context.Context, Span) {
	return t.start(ctx, "find customer")
}

// EndLookup ends the span of a look-up. The result is from a closed list; failed
// means that the directory could not answer.
func (s Span) EndLookup(result string, failed bool) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.String("customersession.lookup.result", result))
	if failed {
		s.fail(result)
	}
	s.span.End()
}

// StartSigning starts the span of signing a token.
func (t *Tracer) StartSigning(ctx context.Context) (context.Context, Span) {
	return t.start(ctx, "sign token")
}

// EndSigning ends the span of a signature with the key.
func (s Span) EndSigning(algorithm, keyID string, failed bool) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(
		attribute.String("customersession.key.algorithm", algorithm),
		attribute.String("customersession.key.id", keyID),
	)
	if failed {
		s.fail("signature")
	}
	s.span.End()
}

// TraceID returns the ID of the span's trace, 32 hexadecimal digits, or an empty
// string if there is none. A trace that is not recorded here has one, too.
func (s Span) TraceID() string {
	if s.span == nil || !s.span.SpanContext().HasTraceID() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

func (t *Tracer) start(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// fail marks the span with a kind of failure from a closed list. The text of an
// error is for the log, which has the ID of the trace.
func (s Span) fail(kind string) {
	s.span.SetAttributes(attribute.String("error.type", kind))
	s.span.SetStatus(codes.Error, "")
}
