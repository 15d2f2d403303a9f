package customers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/loopback"
	"github.com/customersession/customersession/issuer/internal/remote"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// HTTPConfig is the configuration of an [HTTP] directory. The zero value of a field
// is its default.
type HTTPConfig struct {
	// BaseURL is the URL to which /v1/customers/… is added. It must be https,
	// because the token and customers travel over it; http is accepted on
	// loopback. Required.
	BaseURL string
	// Token is sent as a bearer token (RFC 6750, Section 2.1). Default: none.
	Token secret.Text
	// Headers may add headers to a request made on behalf of ctx, such as
	// traceparent (W3C Trace Context). It cannot replace those that are
	// always sent. Default: none.
	Headers func(ctx context.Context, header http.Header)
	// Timeout is for one attempt, its answer included. Default: 2 seconds. One
	// look-up, with all attempts and pauses, takes at most one and a half
	// times as long.
	Timeout time.Duration
}

const (
	// maxRetries is how often an attempt is repeated after a connection error
	// or the statuses 429, 502, 503 and 504.
	maxRetries = 2
	// maxConcurrent is how many attempts may be in progress, of one
	// organization half as many; others wait for one of them to end.
	maxConcurrent = 64
)

// HTTP is the [Directory] of a server with Polar's customer API:
//
//	GET /v1/customers/{id}
//	GET /v1/customers/external/{external_id}
//	GET /v1/customers/{id}/members/{member_id}
//	GET /v1/customers/external/{external_id}/members/{external_member_id}
//
// A slow or dead server takes up bounded time and a bounded number of connections:
// attempts have a timeout, and all attempts of a call together have one. After five
// attempts in a row without a connection or an answer in time, or with a status 502,
// 503 or 504, calls of that organization fail at once, except for a probe about
// every two seconds, until the server answers again. One organization takes up at
// most half of the connections.
//
// Redirects are not followed: they would carry the token elsewhere.
type HTTP struct {
	base    string
	token   *secret.Text // a pointer, since fmt would print an unexported value
	headers func(context.Context, http.Header)
	client  *http.Client
	timeout time.Duration
	budget  time.Duration
	guard   *guard
}

// NewHTTP returns an HTTP directory. It does not contact the server, which may be
// down for now.
func NewHTTP(config HTTPConfig) (*HTTP, error) {
	base, urlErr := parseBaseURL(config.BaseURL)
	var tokenErr error
	if strings.ContainsFunc(config.Token.Reveal(), func(c rune) bool { return c <= ' ' || c > '~' }) {
		tokenErr = errors.New("token: must have no white space and only ASCII characters")
	}
	if config.Timeout < 0 {
		urlErr = errors.Join(urlErr, errors.New("timeout: must not be negative"))
	}
	if err := errors.Join(urlErr, tokenErr); err != nil {
		return nil, fmt.Errorf("configuring the customer server: %w", err)
	}
	timeout := cmp.Or(config.Timeout, 2*time.Second)
	return &HTTP{
		base:    base,
		token:   &config.Token,
		headers: config.Headers,
		client:  remote.NewHTTPClient(maxConcurrent, maxAnswerHeader),
		timeout: timeout,
		budget:  timeout * 3 / 2,
		guard:   newGuard(maxConcurrent),
	}, nil
}

// parseBaseURL returns the URL without its last slash. Its errors do not repeat
// the URL, which may hold a password.
func parseBaseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("base URL: must be a URL such as https://api.example.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("base URL: must have no user, no query and no fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())):
		return "", errors.New("base URL: must be https; http is for loopback only")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Find asks the server, by ID if there is one. [Parse] checks the answer; if it is
// no customer, or another one, the error is [ErrUnavailable].
//
// A customer does not exist if the API says so, with {"error":"ResourceNotFound"}
// and status 404, or with a 422 about the path; and if the server refuses to read
// the external ID: 400, 414 or 431.
func (h *HTTP) Find(ctx context.Context, q Query) (*Customer, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	path, ok := customerPath(q)
	if !ok {
		return nil, ErrNotFound
	}
	body, err := h.ask(ctx, q.OrganizationID, path, q.ID != uuid.Nil)
	if err != nil {
		return nil, err
	}
	c, err := Parse(body, Defaults{})
	if err != nil {
		return nil, badAnswer(err.Error())
	}
	if q.ID != uuid.Nil && c.ID != q.ID || q.ID == uuid.Nil && !c.hasExternalID(q.ExternalID) {
		return nil, badAnswer("it is about another customer")
	}
	return q.answer(c)
}

// FindMember asks the server as Find does, by the IDs of both the customer and the
// member, or by the external IDs of both.
func (h *HTTP) FindMember(ctx context.Context, q Query, c *Customer) (*Member, error) {
	if err := q.checkMember(); err != nil {
		return nil, err
	}
	path, err := memberPath(q, c)
	if err != nil {
		return nil, err
	}
	body, err := h.ask(ctx, q.OrganizationID, path, q.MemberID != uuid.Nil)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrMemberNotFound
	}
	if err != nil {
		return nil, err
	}
	m, err := parseMember(body, false)
	switch {
	case errors.Is(err, ErrMemberNotFound):
		return nil, err
	case err != nil:
		return nil, badAnswer(err.Error())
	case !q.names(m):
		return nil, badAnswer("it is about another member")
	}
	return m, nil
}

// ask asks for a resource. The error is [ErrNotFound] or wraps [ErrUnavailable]. A
// server may refuse to read an ID that is not a UUID: nothing has it.
func (h *HTTP) ask(ctx context.Context, organization uuid.UUID, path string, byID bool) ([]byte, error) {
	body, err := h.get(ctx, organization, path)
	if errors.Is(err, ErrNotFound) || !byID && errors.Is(err, errRefusedID) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("asking the customer server: %w: %w", ErrUnavailable, err)
	}
	return body, nil
}

// badAnswer is the error for an answer that is not what was asked for. It wraps no
// [*ValidationError], which would be about the caller's request.
func badAnswer(reason string) error {
	return fmt.Errorf("reading the customer server's answer: %w: %s", ErrUnavailable, reason)
}

// customerPath returns the path of the customer's resource, if there is one.
func customerPath(q Query) (path string, ok bool) {
	if q.ID != uuid.Nil {
		return "/v1/customers/" + q.ID.String(), true
	}
	return "/v1/customers/external/" + url.PathEscape(q.ExternalID), inPath(q.ExternalID)
}

// memberPath returns the path of the resource of a customer's member. The error is
// [ErrMemberNotFound] or [ErrMemberExternalID].
func memberPath(q Query, c *Customer) (string, error) {
	switch {
	case q.MemberID != uuid.Nil:
		return "/v1/customers/" + c.ID.String() + "/members/" + q.MemberID.String(), nil
	case !inPath(q.ExternalMemberID):
		return "", ErrMemberNotFound
	case c.ExternalID == nil || !inPath(*c.ExternalID):
		return "", ErrMemberExternalID
	}
	return "/v1/customers/external/" + url.PathEscape(*c.ExternalID) + "/members/" + url.PathEscape(q.ExternalMemberID), nil
}

// inPath reports whether an external ID can be a segment of a path. However they are
// written, "." and ".." mean another resource (RFC 3986, Section 5.2.4).
func inPath(externalID string) bool { return externalID != "." && externalID != ".." }

// get returns the body of an answer with status 200, after up to 1 + maxRetries
// attempts.
func (h *HTTP) get(ctx context.Context, organization uuid.UUID, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.budget)
	defer cancel()
	for retry := 0; ; retry++ {
		body, err := h.attempt(ctx, organization, path)
		transient, ok := errors.AsType[*transientError](err)
		if !ok || retry >= maxRetries || !pause(ctx, transient.wait(retry)) {
			return body, err
		}
	}
}

// pause waits, and reports whether there is time left afterwards. If there cannot
// be, it does not wait.
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

// transientError is a failure that may not occur again.
type transientError struct {
	err   error
	after time.Duration // the server's Retry-After, 0 without one
}

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// wait returns how long to wait before retry n, from 0: as long as the server
// asks for, or else a random time up to a bound that doubles ("full jitter").
func (e *transientError) wait(n int) time.Duration {
	if e.after > 0 {
		return e.after
	}
	const first, most = 100 * time.Millisecond, time.Second
	return rand.N(min(first<<min(n, 10), most)) //nolint:gosec // jitter is no secret
}
