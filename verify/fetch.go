package verify

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// How keys are fetched.
const (
	maxSetLength     = 256 << 10
	maxETagLength    = 1 << 10
	fetchTimeout     = 5 * time.Second
	defaultFreshness = 10 * time.Minute
	minFreshness     = time.Minute
	maxFreshness     = time.Hour
)

// A fetchError is why an attempt to fetch keys came to nothing: one word of a
// closed list, fit for a metric. What the network or the document said goes no
// further, because it may quote an address or text of a stranger.
type fetchError string

// Error implements error.
func (e fetchError) Error() string { return string(e) }

// The closed list, as [Health] and [Refresh] document it.
const (
	errTimeout     fetchError = "timeout"
	errConnection  fetchError = "connection"
	errStatus      fetchError = "status"
	errTooLarge    fetchError = "too_large"
	errDocument    fetchError = "document"
	errNoUsableKey fetchError = "no_usable_key"
)

// fetched is a JWK Set with its age. Times carry a monotonic reading, so that
// a change of the wall clock makes no key fresh or stale. It is not changed
// once it is shared.
type fetched struct {
	set     *jwk.Set // nil before there is any
	skipped map[string]int
	etag    string
	// at is when it was last known to be what the issuer publishes; zero for
	// keys given in code.
	at time.Time
	// freshFor is what the issuer promised, within our bounds.
	freshFor time.Duration
	// refreshAt is before freshUntil, so that a fetch in the background is
	// done before anybody would have to wait for it.
	refreshAt, freshUntil time.Time
	// usableUntil is when it is too stale to be used. Seeds have no such end.
	usableUntil time.Time
	seed        bool
	// failing says that the last attempt to replace it came to nothing, so
	// that a stale set is used without waiting for yet another attempt.
	failing bool
}

func (f *fetched) usable(now time.Time) bool {
	return f.set != nil && (f.seed || now.Before(f.usableUntil))
}

func (f *fetched) usableKey(keyID string, now time.Time) *jwk.Key {
	if !f.usable(now) {
		return nil
	}
	return f.set.Key(keyID)
}

func (f *fetched) fresh(now time.Time) bool { return now.Before(f.freshUntil) }

// A fetcher asks the issuer for its JWK Set.
type fetcher struct {
	url      string
	client   *http.Client
	maxStale time.Duration
}

func newFetcher(config *Config) fetcher {
	client := http.Client{Timeout: fetchTimeout}
	if config.HTTPClient != nil {
		client = *config.HTTPClient
	}
	// A redirect would move the trust in the issuer's URL to another one.
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	return fetcher{url: config.JWKSetURL, client: &client, maxStale: config.MaxStale}
}

// fetch asks for the set, conditionally when old has an entity tag. What
// cannot be used is a fetchError, and the caller keeps what it has.
func (f fetcher) fetch(ctx context.Context, old *fetched) (*fetched, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, http.NoBody)
	if err != nil {
		return nil, errConnection
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
	switch {
	case response.StatusCode == http.StatusNotModified && old.etag != "":
		next := *old
		next.failing = false
		if len(response.Header.Values("Cache-Control")) > 0 {
			next.freshFor = freshness(response.Header)
		}
		next.date(asked, f.maxStale)
		return &next, nil
	case response.StatusCode != http.StatusOK:
		return nil, errStatus
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetLength+1))
	if err != nil {
		return nil, networkError(err)
	}
	next, err := read(body)
	if err != nil {
		return nil, err
	}
	if etag := response.Header.Get("ETag"); len(etag) <= maxETagLength {
		next.etag = etag
	}
	next.freshFor = freshness(response.Header)
	next.date(asked, f.maxStale)
	return next, nil
}

// networkError tells running out of time from every other trouble on the way.
func networkError(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return errTimeout
	}
	return errConnection
}

// read parses a JWK Set, wherever it came from.
func read(body []byte) (*fetched, error) {
	if len(body) > maxSetLength {
		return nil, errTooLarge
	}
	set, err := jwk.ParseSet(body)
	switch {
	case errors.Is(err, jwk.ErrEmptySet):
		return nil, errNoUsableKey
	case err != nil:
		return nil, errDocument
	}
	return &fetched{set: set, skipped: countSkipped(set)}, nil
}

// date gives a set its times. Consumers that started together must not ask
// together for ever, so the refresh falls anywhere in 75 to 85 % of freshness.
func (f *fetched) date(at time.Time, maxStale time.Duration) {
	early := time.Duration((0.75 + 0.1*rand.Float64()) * float64(f.freshFor)) //nolint:gosec // jitter needs no secrecy
	f.at, f.refreshAt, f.freshUntil = at, at.Add(early), at.Add(f.freshFor)
	f.usableUntil = f.freshUntil.Add(maxStale)
}

// freshness is how long the issuer lets its answer be used, within our bounds
// (RFC 9111, Section 4.2): max-age, less the time that a cache on the way has
// held it. Without that, a cache in between would double the age that the
// issuer's key schedule reckons with. An answer that is not to be stored is
// kept for the least time, as otherwise every token would ask for it.
func freshness(header http.Header) time.Duration {
	fresh := defaultFreshness
	given := false
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minFreshness
		case "max-age":
			if !given { // the first one counts (RFC 9111, Section 4.2.1)
				fresh, given = deltaSeconds(strings.Trim(value, `"`)), true
			}
		}
	}
	if age := header.Get("Age"); age != "" {
		fresh -= deltaSeconds(age)
	}
	return min(max(fresh, minFreshness), maxFreshness)
}

// deltaSeconds reads a number of seconds; one too large to represent is a
// large one (RFC 9111, Section 1.2.2), and what is not a number is 0.
func deltaSeconds(text string) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// countSkipped counts the keys of a set that were left out, by reason.
func countSkipped(set *jwk.Set) map[string]int {
	var counts map[string]int
	for _, skipped := range set.Skipped() {
		if counts == nil {
			counts = map[string]int{}
		}
		counts[skipReason(skipped.Reason)]++
	}
	return counts
}

// skipReason names a reason of package jwk in one word. What is left is a
// member that is missing, twice there or not what it must be.
func skipReason(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{jwk.ErrUnsupported, "unsupported"},
		{jwk.ErrNotForVerify, "not_for_verify"},
		{jwk.ErrPrivate, "private"},
		{jwk.ErrContradiction, "contradiction"},
		{jwk.ErrPoint, "point"},
		{jwk.ErrSmallOrder, "small_order"},
		{jwk.ErrRSA, "rsa"},
		{jwk.ErrThumbprint, "thumbprint"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "malformed"
}
