package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// counts is what became of the spans.
type counts struct {
	waiting                   atomic.Int64
	exported, failed, dropped atomic.Uint64
}

// queue is the SDK's processor, which takes as many spans as may wait without
// blocking, and counts those that it does not take. The SDK would drop them,
// too, but tells nobody how many.
type queue struct {
	sdktrace.SpanProcessor

	counts *counts
}

// OnEnd implements [sdktrace.SpanProcessor].
func (q queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if q.counts.waiting.Add(1) > maxWaiting {
		q.counts.waiting.Add(-1)
		q.counts.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(span)
}

// exporter is the SDK's exporter, which makes OTLP of spans, with its failures
// counted and logged.
type exporter struct {
	*otlptrace.Exporter

	counts  *counts
	logger  *slog.Logger
	failing bool
}

// ExportSpans implements [sdktrace.SpanExporter]. Calls come one at a time. It
// returns no error, which the SDK would print in a form of its own.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.Exporter.ExportSpans(ctx, spans)
	e.counts.waiting.Add(-int64(len(spans)))
	if err == nil {
		e.counts.exported.Add(uint64(len(spans)))
	} else {
		e.counts.failed.Add(uint64(len(spans)))
	}
	e.logChange(ctx, err)
	return nil
}

// logChange tells when it begins to fail and when it works again, not of each
// batch between.
func (e *exporter) logChange(ctx context.Context, err error) {
	switch {
	case err != nil && !e.failing:
		e.logger.LogAttrs(ctx, slog.LevelWarn, "traces are lost", slog.String("error", err.Error()))
	case err == nil && e.failing:
		e.logger.LogAttrs(ctx, slog.LevelInfo, "traces are exported again")
	}
	e.failing = err != nil
}
