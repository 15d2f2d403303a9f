package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// How keys are fetched.
const (
	maxSetLength     = 256 << 10
	fetchTimeout     = 5 * time.Second
	waitForKeys      = 2 * time.Second
	refreshCooldown  = 30 * time.Second
	defaultFreshness = 10 * time.Minute
	minFreshness     = time.Minute
	maxFreshness     = time.Hour
)

// A source is a KeySource that keeps the issuer's JWK Set. Readers take what
// an atomic pointer holds; nothing on their way is locked.
type source struct {
	url      string
	client   *http.Client
	maxStale time.Duration

	current atomic.Pointer[fetched]

	mu sync.Mutex
	// flight is the fetch that is under way, closed when it is over, or nil.
	flight chan struct{}
	// lastAttempt is when the last fetch began, whatever became of it.
	lastAttempt time.Time
}

// fetched is a JWK Set with its age. Times carry a monotonic reading, so that
// a change of the wall clock makes no key fresh or stale.
type fetched struct {
	set  *jwk.Set
	etag string
	// at is when it was last known to be what the issuer publishes.
	at time.Time
	// refreshAt is before freshUntil, so that a fetch in the background is
	// done before anybody would have to wait for it.
	refreshAt, freshUntil time.Time
}

func newSource(config Config) *source {
	client := http.Client{Timeout: fetchTimeout}
	if config.HTTPClient != nil {
		client = *config.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	return &source{url: config.JWKSetURL, client: &client, maxStale: config.MaxStale}
}

// Key implements [KeySource].
func (s *source) Key(ctx context.Context, keyID string) (*jwk.Key, error) {
	now := time.Now()
	current := s.current.Load()
	if key := current.usableKey(keyID, now, s.maxStale); key != nil {
		if now.After(current.refreshAt) {
			s.refresh(now)
		}
		return key, nil
	}
	// Unknown key or no usable set: this is the one place where a caller
	// waits, for its own context and not for long.
	if flight := s.refresh(now); flight != nil {
		if err := wait(ctx, flight); err != nil {
			return nil, err
		}
	}
	now, current = time.Now(), s.current.Load()
	if key := current.usableKey(keyID, now, s.maxStale); key != nil {
		return key, nil
	}
	if current != nil && now.Before(current.freshUntil) {
		return nil, errUnknown
	}
	return nil, &failure{ErrKeysUnavailable, nil, "the issuer's JWK Set could not be fetched"}
}

// usableKey returns a key of a set that is fresh or not too stale, or nil.
func (f *fetched) usableKey(keyID string, now time.Time, maxStale time.Duration) *jwk.Key {
	if f == nil || now.Sub(f.freshUntil) >= maxStale {
		return nil
	}
	return f.set.Key(keyID)
}

func wait(ctx context.Context, flight <-chan struct{}) error {
	timeout := time.NewTimer(waitForKeys)
	defer timeout.Stop()
	select {
	case <-flight:
		return nil
	case <-timeout.C:
		return &failure{ErrKeysUnavailable, nil, "waited 2 s for the issuer's JWK Set"}
	case <-ctx.Done():
		return &failure{ErrKeysUnavailable, context.Cause(ctx), "gave up waiting for the issuer's JWK Set"}
	}
}

// refresh starts a fetch unless one is under way, and returns what is closed
// at its end. It returns nil while the last attempt is too recent: a stranger
// who invents key IDs must not make us call the issuer, least of all one that
// is down.
func (s *source) refresh(now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if !s.lastAttempt.IsZero() && now.Sub(s.lastAttempt) < refreshCooldown {
		return nil
	}
	s.lastAttempt = now
	flight := make(chan struct{})
	s.flight = flight
	go func() {
		defer close(flight)
		next, err := s.fetch(s.current.Load())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flight = nil
		if err == nil {
			s.current.Store(next)
		}
	}()
	return flight
}

// fetch asks for the set; old may be nil. What cannot be used is an error, and
// the caller keeps what it has.
func (s *source) fetch(old *fetched) (*fetched, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", jwk.MediaType+", application/json")
	if old != nil && old.etag != "" {
		request.Header.Set("If-None-Match", old.etag)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetLength+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotModified && old != nil:
		return aged(old.set, old.etag, response.Header), nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("JWK Set answered %d", response.StatusCode)
	case len(body) > maxSetLength:
		return nil, errors.New("JWK Set is longer than 256 KiB")
	}
	set, err := jwk.ParseSet(body)
	if err != nil {
		return nil, err
	}
	return aged(set, response.Header.Get("ETag"), response.Header), nil
}

// aged gives a set its dates. Consumers that started together must not ask
// together for ever, so the refresh falls anywhere in 75 to 85 % of freshness.
func aged(set *jwk.Set, etag string, header http.Header) *fetched {
	now, fresh := time.Now(), freshness(header)
	early := time.Duration((0.75 + 0.1*rand.Float64()) * float64(fresh)) //nolint:gosec // jitter needs no secrecy
	return &fetched{set: set, etag: etag, at: now, refreshAt: now.Add(early), freshUntil: now.Add(fresh)}
}

// freshness reads max-age (RFC 9111, Section 5.2.2.1) within our bounds.
func freshness(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			return minFreshness
		}
		return min(max(time.Duration(seconds)*time.Second, minFreshness), maxFreshness)
	}
	return defaultFreshness
}
