package keyset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/internal/outbound"
)

const (
	maxSetLength  = 256 << 10
	maxETagLength = 1 << 10
	fetchTimeout  = 5 * time.Second

	defaultLifetime = 10 * time.Minute
	minLifetime     = time.Minute
	maxLifetime     = time.Hour
)

// Why an attempt failed: a closed list, fit for a metric's label.
const (
	classTimeout     = "timeout"
	classConnection  = "connection"
	classStatus      = "status"
	classTooLarge    = "too_large"
	classDocument    = "document"
	classNoUsableKey = "no_usable_key"
)

// A fetchError is why an attempt failed. What the network or the document said
// goes no further: it may quote an address, or text that anyone may have sent.
type fetchError struct {
	class  string
	status int // of the response, if that is what is wrong
}

// Error says what happened.
func (e *fetchError) Error() string {
	switch e.class {
	case classTimeout:
		return "no answer in time"
	case classConnection:
		return "no connection"
	case classStatus:
		return fmt.Sprintf("status %d", e.status)
	case classTooLarge:
		return "more than 256 KiB"
	case classNoUsableKey:
		return "no key in it can be used"
	default:
		return "not a JWK Set"
	}
}

// A fetcher asks the issuer for its JWK Set.
type fetcher struct {
	url      string
	client   *http.Client
	maxStale time.Duration
}

func newFetcher(config *Config) fetcher {
	return fetcher{url: config.URL, client: outbound.Client(config.Client, fetchTimeout), maxStale: config.MaxStale}
}

// fetch asks for the set, conditionally when old has an entity tag.
func (f fetcher) fetch(ctx context.Context, old *cached) (*cached, *fetchError) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, http.NoBody)
	if err != nil {
		return nil, &fetchError{class: classConnection}
	}
	request.Header.Set("Accept", jwk.MediaType+", application/json")
	if old.etag != "" {
		request.Header.Set("If-None-Match", old.etag)
	}
	// The answer is at least as old as the question (RFC 9111, Section 4.2.3).
	asked := time.Now()
	response, err := f.client.Do(request)
	if err != nil {
		return nil, networkError(err)
	}
	defer response.Body.Close()
	var next *cached
	switch {
	case response.StatusCode == http.StatusOK:
		var failed *fetchError
		if next, failed = readSet(response); failed != nil {
			return nil, failed
		}
	case response.StatusCode == http.StatusNotModified && old.etag != "":
		next = old.withRefreshErr(nil)
		if len(response.Header.Values("Cache-Control")) > 0 {
			next.lifetime = lifetime(response.Header)
		}
	default:
		return nil, &fetchError{class: classStatus, status: response.StatusCode}
	}
	next.confirm(asked, f.maxStale)
	return next, nil
}

// readSet reads the set of a response, its entity tag and its lifetime.
func readSet(response *http.Response) (*cached, *fetchError) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetLength+1))
	if err != nil {
		return nil, networkError(err)
	}
	next, class := parse(body)
	if class != "" {
		return nil, &fetchError{class: class}
	}
	if etag := response.Header.Get("ETag"); len(etag) <= maxETagLength {
		next.etag = etag
	}
	next.lifetime = lifetime(response.Header)
	return next, nil
}

// networkError distinguishes a time-out from every other network error.
func networkError(err error) *fetchError {
	if outbound.TimedOut(err) {
		return &fetchError{class: classTimeout}
	}
	return &fetchError{class: classConnection}
}

// lifetime returns how long the issuer lets its answer be used (RFC 9111,
// Section 4.2), within our bounds: max-age less the time that a cache on the
// way has held the answer. Without that, such a cache would double the age
// that the issuer's key schedule allows for. An answer that must not be stored
// is kept for the least time, as otherwise every token would ask for it.
func lifetime(header http.Header) time.Duration {
	fresh, given := defaultLifetime, false
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minLifetime
		case "max-age":
			if !given { // the first one counts (RFC 9111, Section 4.2.1)
				fresh, given = deltaSeconds(strings.Trim(value, `"`)), true
			}
		}
	}
	if age := header.Get("Age"); age != "" {
		fresh -= deltaSeconds(age)
	}
	return min(max(fresh, minLifetime), maxLifetime)
}

// deltaSeconds reads a number of seconds. One that is too large to represent
// is a large one (RFC 9111, Section 1.2.2); text that is not a number is 0.
func deltaSeconds(text string) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
