package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
)

// parentHeader is traceparent, spelt as Go spells names of headers.
const parentHeader = "Traceparent"

// accept returns the request's context with the trace context in its headers, if
// there is a valid one (W3C Trace Context, Section 3.2).
func accept(r *http.Request) context.Context {
	// Two of them contradict each other.
	if len(r.Header[parentHeader]) != 1 {
		return r.Context()
	}
	return propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

// Inject sets traceparent, and tracestate if it has a value, in the headers of a
// request made on behalf of ctx. Without a trace it does nothing.
func Inject(ctx context.Context, header http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
}
