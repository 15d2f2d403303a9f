package customers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxAnswer is the length in bytes of the longest accepted answer.
const maxAnswer = 256 << 10

// attempt makes one request, if the breaker and the number of requests in progress
// allow it.
func (h *HTTP) attempt(ctx context.Context, address string) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, errors.New("too many requests to it are in progress")
	}
	if !h.breaker.allow() {
		return nil, errors.New("it has failed repeatedly, trying again soon")
	}
	var body []byte
	result := noAnswer // also when something panics
	defer func() { h.breaker.report(result) }()
	body, err := h.exchange(ctx, address)
	result = outcomeOf(ctx, err)
	return body, err
}

// outcomeOf returns what an attempt shows about the server. Only failures of a
// server in trouble count: one that refuses the token answers quickly.
func outcomeOf(ctx context.Context, err error) outcome {
	if errors.Is(ctx.Err(), context.Canceled) {
		return noAnswer
	}
	if _, ok := errors.AsType[*passingError](err); ok || errors.Is(err, errServerFault) {
		return dead
	}
	return alive
}

// errServerFault is a status 500, or another 5xx that is not worth a retry.
var errServerFault = errors.New("server error")

// exchange sends the request and reads the answer.
func (h *HTTP) exchange(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, withoutURL(err)
	}
	if h.headers != nil {
		h.headers(ctx, request.Header)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "customersession")
	if *h.token != "" {
		request.Header.Set("Authorization", "Bearer "+h.token.Reveal())
	}
	response, err := h.client.Do(request)
	if err != nil {
		return nil, &passingError{err: withoutURL(err)}
	}
	// The connection can be used again only if the body is read to its end.
	body, readErr := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	_ = response.Body.Close()
	if err := statusError(response); err != nil {
		return nil, err
	}
	if readErr != nil {
		return nil, &passingError{err: fmt.Errorf("reading its answer: %w", readErr)}
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

// withoutURL returns the cause of a [url.Error], whose text has the URL with the
// customer's external ID.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// statusError returns an error for any status but 200.
func statusError(response *http.Response) error {
	status := response.StatusCode
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		// Polar answers 422 for a UUID of another version than 4, which none
		// of its customers can have.
		return ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("it refuses the configured token (status %d), "+
			"which must be valid and may need the scope customers:read", status)
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &passingError{
			err:   fmt.Errorf("it answers with status %d", status),
			after: retryAfter(response.Header.Get("Retry-After")),
		}
	}
	switch {
	case status >= 500:
		return fmt.Errorf("it answers with status %d: %w", status, errServerFault)
	case status >= 300 && status < 400:
		return fmt.Errorf("it redirects (status %d), which is not followed; correct the base URL", status)
	default:
		return fmt.Errorf("it answers with the unexpected status %d", status)
	}
}

// retryAfter reads a Retry-After header, seconds or a date (RFC 9110, Section
// 10.2.3). Without one it returns 0.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 24); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}
