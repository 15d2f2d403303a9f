package tracing

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// maxAsked is how many requests a second are traced because their callers ask
// for it.
const maxAsked = 100

// newSampler decides which requests are traced: those that the caller traces,
// and a share of those whose caller does not say.
//
//nolint:ireturn // the SDK has no other type for it
func newSampler(ratio float64) sdktrace.Sampler {
	return sdktrace.ParentBased(
		sdktrace.TraceIDRatioBased(ratio),
		sdktrace.WithRemoteParentSampled(askedFor{rate.NewLimiter(maxAsked, maxAsked)}),
	)
}

// askedFor samples what callers ask for, up to a limit. Without one, any
// stranger could fill the queue and keep out what others want to see (W3C Trace
// Context, "Security Considerations", denial of service).
type askedFor struct{ limit *rate.Limiter }

// ShouldSample implements [sdktrace.Sampler].
func (a askedFor) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{
		Decision:   sdktrace.Drop,
		Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
	if a.limit.Allow() {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}

// Description implements [sdktrace.Sampler].
func (askedFor) Description() string { return "AskedFor" }
