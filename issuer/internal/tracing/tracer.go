package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope names what makes the spans.
	scope = "github.com/customersession/customersession/issuer"

	// maxWaiting is how many spans wait at most, the batch that is being
	// exported included. A span takes about 1 KiB.
	maxWaiting = 2048
	batchSize  = 512
	batchDelay = 5 * time.Second

	// exportTimeout is for one batch, with all attempts.
	exportTimeout = 10 * time.Second
	// flushTimeout is for all that is left at the end.
	flushTimeout = 5 * time.Second
)

// Config says what to trace, and where to. Endpoint is required; every other
// zero field stands for its default.
type Config struct {
	// Endpoint is the URL at which a collector takes traces over OTLP/HTTP.
	// See [CheckEndpoint].
	Endpoint string
	// Headers are sent along, such as credentials. Default: none.
	Headers Headers
	// Ratio is the share of requests to trace, from 0 to 1, of those whose
	// caller does not say. Default: 0.
	Ratio float64
	// Version is the "service.version" of the spans. Default: "unknown".
	Version string
	// Logger is told when exporting begins to fail, and when it works again.
	// Default: nobody is.
	Logger *slog.Logger
}

// A Tracer makes spans and exports them. Its methods may be called at the same
// time from several goroutines, and on a nil *Tracer, which makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	counts   *counts
}

// New starts to export. It does not contact the collector, which may be away
// for now. Call [Tracer.Shutdown] in the end.
func New(config Config) (*Tracer, error) {
	return newTracer(config, newTransport())
}

func newTracer(config Config, transport http.RoundTripper) (*Tracer, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Version == "" {
		config.Version = "unknown"
	}
	tally := new(counts)
	batches := sdktrace.NewBatchSpanProcessor(
		&exporter{
			Exporter: otlptrace.NewUnstarted(newCollector(config, transport)), counts: tally, logger: config.Logger,
		},
		sdktrace.WithMaxQueueSize(maxWaiting), sdktrace.WithMaxExportBatchSize(batchSize),
		sdktrace.WithBatchTimeout(batchDelay), sdktrace.WithExportTimeout(exportTimeout),
	)
	// Not the provider that is global to a program: this one is only ours.
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "customersession"),
			attribute.String("service.version", config.Version),
		)),
		sdktrace.WithSampler(newSampler(config.Ratio)),
		sdktrace.WithSpanProcessor(queue{batches, tally}),
	)
	return &Tracer{provider, provider.Tracer(scope), tally}, nil
}

// validate reports every problem at once, and repeats no value.
func (c *Config) validate() error {
	var ratioErr error
	// Written so that it holds for NaN, too.
	if !(c.Ratio >= 0 && c.Ratio <= 1) {
		ratioErr = errors.New("ratio is not between 0 and 1")
	}
	return errors.Join(CheckEndpoint(c.Endpoint, !c.Headers.empty()), ratioErr)
}

// Shutdown exports what is left, for five seconds at most or until ctx ends,
// and stops. The error tells of spans that had to be given up then; failed
// exports are counted and logged, and no error.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("exporting the last spans: %w", err)
	}
	return nil
}

// Stats is what became of the spans so far. It is zero for a nil *Tracer.
func (t *Tracer) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return Stats{
		Exported: t.counts.exported.Load(),
		Failed:   t.counts.failed.Load(),
		Dropped:  t.counts.dropped.Load(),
	}
}

// Stats counts spans, since the start.
type Stats struct {
	// Exported spans were taken by the collector.
	Exported uint64
	// Failed spans were refused, or the collector could not be reached.
	Failed uint64
	// Dropped spans were never sent, because too many waited already.
	Dropped uint64
}
