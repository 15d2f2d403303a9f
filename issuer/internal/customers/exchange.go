package customers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/remote"
)

// maxAnswer and maxAnswerHeader are the lengths in bytes of the longest accepted
// answer and of the longest header of one.
const (
	maxAnswer       = 256 << 10
	maxAnswerHeader = 16 << 10
)

// errRefusedID is a status with which servers refuse a request line that they
// cannot or do not want to read.
var errRefusedID = errors.New("it refuses to read the request")

// attempt makes one request, if the guard allows it.
func (h *HTTP) attempt(ctx context.Context, organization uuid.UUID, path string) (body []byte, err error) {
	err = h.guard.do(ctx, organization, func() error {
		body, err = h.exchange(ctx, h.base+path)
		return err
	})
	return body, err
}

// exchange sends the request and reads the answer.
func (h *HTTP) exchange(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, remote.Describe(err)
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
		return nil, noAnswer(err, connected.Load())
	}
	// The connection can be used again only if the body is read to its end.
	body, readErr := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	_ = response.Body.Close()
	if err := statusError(response, body); err != nil {
		return nil, err
	}
	if readErr != nil {
		return nil, noAnswer(readErr, true)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

// noAnswer is the failure of an attempt without a whole answer. A connection that
// ends in the middle may be due to the request.
func noAnswer(err error, connected bool) error {
	failure := remote.Describe(err)
	if !connected || remote.TimedOut(err) {
		failure = &outageError{failure}
	}
	return &transientError{err: failure}
}

// statusError returns an error for any status but 200.
func statusError(response *http.Response, body []byte) error {
	status := response.StatusCode
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		if saysNotFound(status, body) {
			return ErrNotFound
		}
		return fmt.Errorf("it answers with status %d, and not as the customer API does; check the base URL", status)
	case http.StatusBadRequest, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return fmt.Errorf("%w (status %d)", errRefusedID, status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("it refuses the configured token (status %d), "+
			"which must be valid and may need the scope customers:read", status)
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		err := fmt.Errorf("it answers with status %d", status)
		if status != http.StatusTooManyRequests {
			err = &outageError{err}
		}
		return &transientError{err: err, after: retryAfter(response.Header.Get("Retry-After"))}
	}
	if status >= 300 && status < 400 {
		return fmt.Errorf("it redirects (status %d), which is not followed; correct the base URL", status)
	}
	return fmt.Errorf("it answers with status %d", status)
}

// saysNotFound reports whether the body of a 404 or a 422 is the API's own. Any
// program on the way can answer so, too. Polar's 422 is about the path: for a UUID
// of another version than 4, which none of its customers can have.
func saysNotFound(status int, body []byte) bool {
	if status == http.StatusNotFound {
		var answer struct {
			Error string `json:"error"`
		}
		return json.Unmarshal(body, &answer) == nil && answer.Error == "ResourceNotFound"
	}
	var answer struct {
		Detail []struct {
			Loc []any `json:"loc"`
		} `json:"detail"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Detail) == 0 {
		return false
	}
	loc := answer.Detail[0].Loc
	return len(loc) > 0 && loc[0] == "path"
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
