package kubesecret

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// maxAnswer is the size in bytes of the longest answer that is read. A Secret
// has at most 1 MiB of data, which base64 makes a third longer.
const maxAnswer = 3 << 20

// attempts is how often a request to read is sent at most.
const attempts = 3

// expectTimeout is how long the body of a write waits for a server that does not
// say whether it wants it.
const expectTimeout = 2 * time.Second

// A client sends the requests of one call, with one set of credentials.
type client struct {
	http   *http.Client
	server string // its URL, without a slash at the end
	token  string // empty when the client certificate says it all
}

// newClient makes a client. Each request gets a connection of its own: there
// are no more than two in a row, and a connection from before the last pause
// may be dead without anybody knowing.
func newClient(e *endpoint, c credential) *client {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    e.roots,
		ServerName: e.serverName,
	}
	if c.certificate != nil {
		config.Certificates = []tls.Certificate{*c.certificate}
	}
	return &client{
		server: e.server,
		token:  c.token,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 e.proxy,
				TLSClientConfig:       config,
				DisableKeepAlives:     true,
				ExpectContinueTimeout: expectTimeout,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// read returns the body of the answer, after as many attempts as it takes and
// is allowed to take.
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

// write sends the body once. A status that says that it was done counts even
// if the connection breaks after it.
func (c *client) write(ctx context.Context, method, path string, body []byte) error {
	response, err := c.send(ctx, method, path, body)
	if err == nil {
		_ = response.Body.Close()
		return nil
	}
	if mayBeDone(err) {
		return fmt.Errorf("%w; it may have been written all the same: look with keys status before you try again", err)
	}
	return err
}

// send returns an answer with a status of success, and otherwise a
// [connectionError] or a [statusError].
func (c *client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	request, err := http.NewRequestWithContext(traced, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "customersession")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		// A server that refuses a write need not read it, and may end the
		// connection while it is still being sent: then all that is left of
		// the refusal is a broken pipe.
		request.Header.Set("Expect", "100-continue")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &connectionError{err: reason(ctx, err), sent: sent.Load()}
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, newStatusError(response)
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

// A connectionError is that no answer came, or only a part of one.
type connectionError struct {
	err  error
	sent bool // whether anything of the request was
}

func (e *connectionError) Error() string {
	return "no connection to the API server: " + e.err.Error()
}

func (e *connectionError) Unwrap() error { return e.err }

// reason is what ended the exchange: the time, if it was that, and else the
// cause without the URL, which would only make the message longer.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return withoutURL(err)
}

func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// mayPass reports whether the n-th attempt failed in a way that the next one
// may not, and how long to wait before it.
func mayPass(err error, n int) (wait time.Duration, ok bool) {
	// Anything up to a bound that doubles, so that those who failed together
	// do not come back together.
	wait = rand.N(200 * time.Millisecond << n) //nolint:gosec // jitter is no secret
	if status, ok := errors.AsType[*statusError](err); ok {
		return max(wait, status.retryAfter), status.passing()
	}
	_, ok = errors.AsType[*connectionError](err)
	return wait, ok
}

// mayBeDone reports whether a request that failed may have had its effect. An
// API server answers with 5xx also when etcd did not answer in time.
func mayBeDone(err error) bool {
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.code >= 500
	}
	connection, ok := errors.AsType[*connectionError](err)
	return ok && connection.sent
}

// pause waits, and reports whether there is time left after it. It does not
// begin to wait for what comes too late.
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
