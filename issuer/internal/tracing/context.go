package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
)

// parentHeader is the header traceparent in the form that Go gives to names of
// headers.
const parentHeader = "Traceparent"

// accept returns the request's context with the trace context of its headers,
// if there is one and it is valid (W3C Trace Context, Section 3.2).
func accept(r *http.Request) context.Context {
	// Two of them contradict each other.
	if len(r.Header[parentHeader]) != 1 {
		return r.Context()
	}
	return propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

// Inject sets traceparent, and tracestate if it has a value, in the headers of
// a request that is made on behalf of ctx. It does nothing if there is no trace.
func Inject(ctx context.Context, header http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
}
