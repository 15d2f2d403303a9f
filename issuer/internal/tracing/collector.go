package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// A collector is a client that drops what callers wrote, and logs failures.
type collector struct {
	otlptrace.Client

	logger  *slog.Logger
	failing bool
}

// UploadTraces implements [otlptrace.Client]. Calls come one at a time. It logs
// when exports begin to fail and when they work again, and returns no error: the
// SDK would print it, with the collector's answer.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	forgetStates(spans)
	err := c.Client.UploadTraces(ctx, spans)
	switch {
	case err != nil && !c.failing:
		c.logger.LogAttrs(ctx, slog.LevelWarn, "traces are lost", slog.String("error", reason(err)))
	case err == nil && c.failing:
		c.logger.LogAttrs(ctx, slog.LevelInfo, "traces are exported again")
	}
	c.failing = err != nil
	return nil
}

// proxyWithoutRedirects is the proxy of the environment, and an error for a
// request that follows a redirect: it would carry the headers elsewhere. The
// exporter has no option for that which leaves its certificates alone.
func proxyWithoutRedirects(r *http.Request) (*url.URL, error) {
	if r.Response != nil {
		return nil, errors.New("the collector redirects, which is not followed")
	}
	return http.ProxyFromEnvironment(r)
}

// forgetStates empties the tracestate of each span: the caller wrote it, and may
// have written anything.
func forgetStates(resources []*tracepb.ResourceSpans) {
	for _, resource := range resources {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				span.TraceState = ""
			}
		}
	}
}

// reason is what the log may say of an error of the client, whose text has the
// URL, which may hold a token, and the collector's answer, which may repeat
// headers.
func reason(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err.Error()
	}
	// The text is "failed to send to URL: 401 Unauthorized (body: …)".
	var status int
	text, _, refused := strings.Cut(err.Error(), " (body: ")
	_, text, _ = strings.Cut(text, ": ")
	if _, err := fmt.Sscan(text, &status); refused && err == nil {
		return fmt.Sprintf("the collector answers with status %d", status)
	}
	return "the collector is overloaded or refuses them"
}
