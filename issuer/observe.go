package issuer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/verify/wire"
)

// A call is one request: Echo's context, and what its log line needs.
type call struct {
	echo.Context

	requestID string
	caller    *organizations.APIKey // nil without a valid API key
	failure   string                // for the log, empty for success
}

// handle makes a handler for Echo.
func handle(next func(*call) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		return next(c.(*call)) //nolint:forcetypeassert // observe makes every context a call
	}
}

// observe gives each request an ID, one log line, its metrics, and a span if
// it is traced.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(context echo.Context) error {
		start := time.Now()
		c := &call{Context: context, requestID: newRequestID(context.Request())}
		request, span := s.tracer.StartRequest(context.Request(), method(c), context.Path())
		context.SetRequest(request)
		context.Response().Header().Set(echo.HeaderXRequestID, c.requestID)
		if err := next(c); err != nil {
			refusal := s.refusals.refuse(err)
			c.failure = refusal.text(err)
			// net/http reads the rest of the body before it sends the answer.
			_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(refusedTimeout))
			if !c.Response().Committed {
				refusal.write(c.Response())
			}
		}
		took := time.Since(start)
		span.EndRequest(c.Response().Status)
		s.metrics.request(c, took)
		s.logRequest(c, took, span.TraceID())
		return nil
	}
}

// newRequestID returns the client's request ID when it is harmless, or a new
// one. It proves nothing, so it need not be hard to guess.
func newRequestID(r *http.Request) string {
	if id := r.Header.Get(echo.HeaderXRequestID); isRequestID(id) {
		return id
	}
	return strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // see above
}

// isRequestID accepts the form of UUIDs, ULIDs and trace IDs. Secrets do not have
// it: they are longer, with a dot or an underscore.
func isRequestID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 36
}

// logRequest writes the request's line. It has the route, never the path or the
// query, which come from the client and may hold a token.
func (s *Server) logRequest(c *call, took time.Duration, traceID string) {
	status, level := c.Response().Status, slog.LevelInfo
	switch {
	case c.Path() == wire.RevocationsPath && (status == http.StatusOK || status == http.StatusServiceUnavailable):
		level = slog.LevelDebug // each consumer, twice a minute; a log that is away has a line of its own
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
	case status == http.StatusNoContent && c.Request().Method == http.MethodOptions:
		level = slog.LevelDebug // a preflight: the call follows
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("request_id", c.requestID),
		slog.String("method", method(c)),
		slog.String("route", route(c)),
		slog.Int("status", status),
		slog.Int64("bytes", c.Response().Size),
		slog.Float64("duration_seconds", took.Seconds()),
		slog.String("client", c.RealIP()),
	)
	if c.caller != nil {
		attrs = append(attrs, slog.String("organization", c.caller.Organization.Slug), slog.String("api_key", c.caller.Name))
	}
	if c.failure != "" {
		attrs = append(attrs, slog.String("error", c.failure))
	}
	if traceID != "" {
		attrs = append(attrs, slog.String("trace_id", traceID))
	}
	s.log(c.Request().Context(), level, "request", attrs...)
}

// log writes a line without the source position that [slog.Logger] looks up,
// which the handlers here do not show.
func (s *Server) log(ctx context.Context, level slog.Level, message string, attrs ...slog.Attr) {
	handler := s.logger.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	record := slog.NewRecord(time.Now(), level, message, 0)
	record.AddAttrs(attrs...)
	// Where the log cannot be written, there is no place to report that.
	_ = handler.Handle(ctx, record)
}

// logPanic logs the stack of a handler that panicked. Echo makes an error of it,
// which becomes a 500.
func (s *Server) logPanic(c echo.Context, err error, stack []byte) error {
	s.logger.LogAttrs(c.Request().Context(), slog.LevelError, "handler panicked",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("route", route(c)), slog.String("stack", string(stack)))
	return err
}

// route is the pattern that matched, or "none".
func route(c echo.Context) string {
	if path := c.Path(); path != "" {
		return path
	}
	return "none"
}

// method keeps methods that clients invent out of logs and metrics.
func method(c echo.Context) string {
	switch m := c.Request().Method; m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	default:
		return "other"
	}
}
