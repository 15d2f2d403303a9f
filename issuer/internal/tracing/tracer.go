package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// scope names what makes the spans.
	scope = "github.com/customersession/customersession/issuer"

	// flushTimeout is for exporting what is left at the end.
	flushTimeout = 5 * time.Second

	// maxAsked is how many requests a second are traced because their callers
	// ask for it. Without a limit, any client could fill the queue and keep
	// out what others want to see (W3C Trace Context, "Security
	// Considerations", denial of service).
	maxAsked = 100
)

// Config is the configuration of a [Tracer]. The standard OTEL_* variables
// decide what it leaves open: sampling, batches, time-outs, certificates and the
// attributes of the resource.
type Config struct {
	// Endpoint is the URL that [Endpoint] returned. Empty: off.
	Endpoint string
	// HeadersFile is a file of headers to send, such as credentials, one
	// "Name: value" a line. Default: none.
	HeadersFile string
	// Version is the "service.version" of the spans. Default: "unknown".
	Version string
	// Logger logs when exports begin to fail and when they work again.
	// Required.
	Logger *slog.Logger
}

// A Tracer makes and exports spans. Its methods may be called from several
// goroutines at the same time. A nil *Tracer makes none.
type Tracer struct {
	exporter *otlptrace.Exporter
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	asked    *rate.Limiter
}

// New returns a tracer, nil if traces are off. It does not contact the collector,
// which may be down for now. Call [Tracer.Shutdown] in the end.
func New(ctx context.Context, config Config) (*Tracer, error) {
	if config.Endpoint == "" {
		return nil, nil
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(config.Endpoint),
		otlptracehttp.WithProxy(proxyWithoutRedirects),
	}
	if config.HeadersFile != "" {
		headers, err := readHeaders(config.HeadersFile)
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	return newTracer(ctx, config, options...)
}

func newTracer(ctx context.Context, config Config, options ...otlptracehttp.Option) (*Tracer, error) {
	exporter, err := otlptrace.New(ctx, &collector{Client: otlptracehttp.NewClient(options...), logger: config.Logger})
	if err != nil {
		return nil, err
	}
	service, err := newResource(ctx, config.Version)
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	// The provider is not made the global one: nothing else is to use it.
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(service), sdktrace.WithBatcher(exporter))
	return &Tracer{exporter, provider, provider.Tracer(scope), rate.NewLimiter(maxAsked, maxAsked)}, nil
}

// newResource describes this program; OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES may override it.
func newResource(ctx context.Context, version string) (*resource.Resource, error) {
	if version == "" {
		version = "unknown"
	}
	service, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "customersession"),
		attribute.String("service.version", version),
	), resource.WithFromEnv())
	if err != nil {
		// The cause is not wrapped: it repeats the value.
		return nil, errors.New("OTEL_RESOURCE_ATTRIBUTES is not a list such as name=value,name=value")
	}
	return service, nil
}

// Shutdown exports what is left, for at most five seconds or until ctx ends, and
// stops. The error means that spans were lost because of that; failed exports
// are only logged.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		// The request in progress is given up, too.
		return errors.Join(fmt.Errorf("exporting the last spans: %w", err), t.exporter.Shutdown(context.WithoutCancel(ctx)))
	}
	return nil
}
