// Package tracing sends OpenTelemetry traces of requests to a collector over
// OTLP/HTTP.
//
//	endpoint, err := tracing.Endpoint(os.Getenv, headersFile)
//	tracer, err := tracing.New(ctx, tracing.Config{Endpoint: endpoint, HeadersFile: headersFile})
//	defer tracer.Shutdown(ctx) // exports what is left
//	…
//	r, span := tracer.StartRequest(r, "POST", "/v1/customer-sessions/")
//	…
//	span.EndRequest(201)
//
// The OpenTelemetry SDK makes, samples, batches and exports the spans, and reads
// its standard OTEL_* variables. A collector that is slow or down can lose spans,
// but never delays a request.
//
// # Off
//
// A nil [*Tracer] is off. All its methods may be called; they return at once and
// allocate nothing. Even then the trace context of a caller (W3C Trace Context,
// the headers traceparent and tracestate) is passed on by [Inject].
//
// # What a span holds
//
// A name, two times, the IDs of the trace, and a few attributes with values from
// closed lists or of the operator's own. The methods of [Span] have no way to add
// anything else, and the tracestate that a caller sent is not exported.
//
// That is also why the spans of requests are made here. Echo's middleware for
// OpenTelemetry is no longer released, and net/http's records the path, the
// user agent and the client's address: tokens may be in the first two.
package tracing
