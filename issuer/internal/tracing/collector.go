package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	attemptTimeout = 5 * time.Second
	maxRetries     = 2
	// firstPause comes before the first retry; it doubles.
	firstPause = 500 * time.Millisecond
	// maxAnswer is how much of an answer is read, so that the connection can
	// be used again.
	maxAnswer = 64 << 10
)

// collector implements [otlptrace.Client] with protobuf over HTTP (OTLP 1.x,
// "OTLP/HTTP").
type collector struct {
	endpoint string
	headers  *Headers // a pointer, since fmt would print an unexported value
	client   *http.Client
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        1,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: attemptTimeout,
	}
}

func newCollector(config Config, transport http.RoundTripper) *collector {
	return &collector{
		endpoint: withPath(config.Endpoint),
		headers:  &config.Headers,
		client: &http.Client{
			Transport: transport,
			// It would carry the headers elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Start implements [otlptrace.Client].
func (*collector) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client].
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements [otlptrace.Client]. It repeats what may pass, as long
// as ctx lasts.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	forgetStates(spans)
	// On the wire it is the same as an ExportTraceServiceRequest, whose
	// package would bring gRPC along: one field, with the same number.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	for retry := 0; ; retry++ {
		err := c.send(ctx, body)
		passing, ok := errors.AsType[*passingError](err)
		if !ok || retry == maxRetries || !pause(ctx, max(passing.after, firstPause<<retry)) {
			return err
		}
	}
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

// send makes one attempt.
func (c *collector) send(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	c.headers.addTo(request.Header)
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("User-Agent", "customersession")
	response, err := c.client.Do(request)
	if err != nil {
		return &passingError{err: withoutURL(err)}
	}
	defer response.Body.Close()
	// What it says is of no use, least of all in a log: it may repeat headers.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return statusError(response)
}

// withoutURL is the cause of a [url.Error], whose text would repeat the URL: it
// may have a secret in its path.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// statusError is nil for a status of success.
func statusError(response *http.Response) error {
	status := response.StatusCode
	err := fmt.Errorf("the collector answers with status %d", status)
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
		return &passingError{err, time.Duration(seconds) * time.Second}
	}
	if status >= 200 && status < 300 {
		return nil
	}
	return err
}

// passingError is a failure that the same request may not meet again.
type passingError struct {
	err   error
	after time.Duration // the collector's Retry-After, 0 without one
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// pause waits, and reports whether there is time left after it. It does not
// begin to wait for what comes too late.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
