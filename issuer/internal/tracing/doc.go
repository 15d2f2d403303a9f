// Package tracing tells an OpenTelemetry collector, over OTLP/HTTP, where the
// time of a request went.
//
//	tracer, err := tracing.New(tracing.Config{
//		Endpoint: "http://127.0.0.1:4318/v1/traces",
//		Ratio:    0.01,
//	})
//	if err != nil { … }
//	defer tracer.Shutdown(ctx) // exports what is left
//	…
//	r, span := tracer.StartRequest(r, "POST", "/v1/customer-sessions/")
//	…
//	span.EndRequest(201)
//
// # Off
//
// A nil [*Tracer] is tracing that is off. All its methods may be called: they
// look at the pointer and return, and allocate nothing. A zero [Span] is what
// they hand out.
//
// Even then a trace context that a caller sends (W3C Trace Context, the headers
// traceparent and tracestate) is accepted and passed on by [Inject], as the
// specification asks of whoever takes no part in a trace; a request without one
// pays for a look into its headers.
//
// # What a span says
//
// A name, two times, the IDs of the trace, and a few attributes with values of
// closed lists or of the operator's own: the method, the route and the status
// of a request, how a look-up ended, the algorithm and the ID of a key. There is
// no way to put in anything else. What a caller wrote into tracestate is passed
// on and not exported.
//
// # Collectors that are slow or away
//
// A span that has ended waits in a queue of a fixed length; where that is full
// the span is dropped. A goroutine exports the queue in batches. So a collector
// can cost spans, which [Tracer.Stats] counts, and never time of a request.
//
// # Who decides
//
// The caller, if it sends a trace context, and the ratio otherwise. Anybody can
// be a caller, so of the requests that ask to be traced at most a hundred a
// second are.
//
// # Why not the usual exporter
//
// Spans, sampling, batches and the making of OTLP's messages are those of the
// OpenTelemetry SDK. Only the request to the collector is ours: the SDK's
// package for it, otlptracehttp, brings along gRPC and its gateway (2 MB more of
// a binary, and 93 packages), and reads credentials from the environment.
package tracing
