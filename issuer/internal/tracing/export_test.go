package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// MaxAsked is what tests measure against.
const MaxAsked = maxAsked

// NewTo is [New] with another way to the collector.
func NewTo(ctx context.Context, config Config, transport http.RoundTripper) (*Tracer, error) {
	return newTracer(ctx, config, otlptracehttp.WithEndpointURL(config.Endpoint),
		otlptracehttp.WithHTTPClient(&http.Client{Transport: transport}))
}
