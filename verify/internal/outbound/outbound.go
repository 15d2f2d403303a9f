// Package outbound has what all requests of a verifier to its issuer share.
package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Client returns a copy of a caller's client that follows no redirects: they would
// move the trust in the issuer's URL, and the token of a sign-out, to another one.
// Nil stands for a client with the time-out, 0 for none.
func Client(given *http.Client, timeout time.Duration) *http.Client {
	client := http.Client{Timeout: timeout}
	if given != nil {
		client = *given
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// TimedOut distinguishes a time-out from every other network error.
func TimedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
