package kubesecret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer is the size in bytes of the longest answer that is read. A Secret
// holds at most 1 MiB of data, which base64 makes a third longer.
const maxAnswer = 3 << 20

// attempts is how often a read request is sent at most.
const attempts = 3

// A client sends the requests of one Read or Write, with one set of
// credentials.
type client struct {
	http   *http.Client
	server string // its URL, without a slash at the end
	// ahead is how far this machine's clock was ahead of the server's at the
	// last answer, at least; negative if it was behind.
	ahead time.Duration
}

// newClient returns a client that never follows a redirect with its
// credentials.
func newClient(server string, transport http.RoundTripper) *client {
	return &client{
		server: strings.TrimRight(server, "/"),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// read returns the body of the answer. It repeats a request that may succeed
// later.
func (c *client) read(ctx context.Context, path string, timeout time.Duration) ([]byte, error) {
	for n := 1; ; n++ {
		body, err := c.readOnce(ctx, path, timeout)
		wait, passing := mayPass(err, n)
		if !passing || n == attempts || !pause(ctx, wait) {
			return body, err
		}
	}
}

func (c *client) readOnce(ctx context.Context, path string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("no answer within %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	response, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readAnswer(ctx, response)
}

// write sends the body once. Once a status of success has arrived, a connection
// that breaks does not matter.
func (c *client) write(ctx context.Context, method, path string, body []byte) error {
	response, err := c.send(ctx, method, path, body)
	if err == nil {
		_ = response.Body.Close()
		return nil
	}
	if mayBeDone(err) {
		return fmt.Errorf("%w; it may have been written all the same: check with keys status before you try again", err)
	}
	return err
}

// send returns an answer with a status of success, or else a [connectionError]
// or a [statusError].
func (c *client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	request, err := http.NewRequestWithContext(traced, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	// A connection from before a pause may be dead: each request opens its own.
	request.Close = true
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	asked := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &connectionError{err: reason(ctx, err), sent: sent.Load()}
	}
	c.ahead = ahead(response.Header.Get("Date"), asked, time.Now())
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, newStatusError(response)
}

// ahead returns how far this clock is ahead of the one that wrote the Date of an
// answer (RFC 9110, Section 6.6.1), at least. It is 0 if the two may agree, or
// without a Date.
func ahead(date string, asked, answered time.Time) time.Duration {
	from, err := http.ParseTime(date)
	to := from.Add(time.Second) // it is whole seconds, rounded down
	switch {
	case err != nil:
		return 0
	case asked.After(to):
		return asked.Sub(to)
	default:
		return min(answered.Sub(from), 0)
	}
}

func readAnswer(ctx context.Context, response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, &connectionError{err: fmt.Errorf("reading the answer: %w", reason(ctx, err)), sent: true}
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

// A connectionError means that no answer arrived, or only part of one.
type connectionError struct {
	err  error
	sent bool // whether part of the request was
}

// Error may repeat what a program on the way says before it is verified: the
// names in its certificate, or the status of a proxy.
func (e *connectionError) Error() string {
	return "no connection to the API server: " + printable(e.err.Error())
}

func (e *connectionError) Unwrap() error { return e.err }

// reason returns why the exchange ended: the end of the context, or else the
// cause without the URL, which would only make the message longer.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return withoutAnswer(withoutURL(err))
}

func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// mayPass reports whether the attempt after the n-th one may succeed, and how
// long to wait before it.
func mayPass(err error, n int) (wait time.Duration, ok bool) {
	// Clients that failed together must not come back together.
	wait = rand.N(200 * time.Millisecond << n) //nolint:gosec // jitter is no secret
	if status, ok := errors.AsType[*statusError](err); ok {
		return max(wait, status.retryAfter), status.passing()
	}
	_, ok = errors.AsType[*connectionError](err)
	return wait, ok
}

// mayBeDone reports whether a request that failed may have taken effect. An API
// server also answers with 5xx if etcd did not answer in time.
func mayBeDone(err error) bool {
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.code >= 500
	}
	connection, ok := errors.AsType[*connectionError](err)
	return ok && connection.sent
}

// pause waits, and reports whether time is left afterwards. If it would not be,
// pause returns at once.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
