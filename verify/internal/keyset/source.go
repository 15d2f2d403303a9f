package keyset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

const (
	// maxWait is how long a caller waits for a fetch.
	maxWait = 2 * time.Second
	// cooldown is the least time between two attempts that tokens cause,
	// counted from the start of the first one, whatever its outcome.
	cooldown = 30 * time.Second
	// firstRetry is when a failed first fetch is tried again.
	firstRetry = time.Second
	// idleAfter is how long a source refreshes without being used.
	idleAfter = time.Hour
)

// Why there is no key. Errors of this package wrap one of the two.
var (
	ErrUnknown     = errors.New("key is unknown")
	ErrUnavailable = errors.New("keys are unavailable")
)

var (
	errNotFetched = fmt.Errorf("%w: the issuer's JWK Set has not been fetched", ErrUnavailable)
	errWaited     = fmt.Errorf("%w: the issuer's JWK Set did not arrive within %v", ErrUnavailable, maxWait)
	errClosed     = fmt.Errorf("%w: the verifier is closed", ErrUnavailable)
)

// Config says which JWK Set to keep. URL, MaxStale and Logger are required.
type Config struct {
	// Issuer names the issuer, in the snapshot and in errors.
	Issuer string
	// URL is the address of the JWK Set.
	URL string
	// Client fetches the set. Nil: a client with a time-out of its own.
	Client *http.Client
	// Seed are keys to use until the issuer has answered, or nil.
	Seed *jwk.Set
	// MaxStale is how long a set is used past its freshness.
	MaxStale time.Duration
	// SnapshotFile is the copy on disk; empty for none.
	SnapshotFile string
	// Leeway is how far a snapshot may be ahead of this clock.
	Leeway time.Duration
	// Logger gets a line when an outage begins and ends, when keys of the set
	// cannot be used, and about the snapshot.
	Logger *slog.Logger
	// OnRefresh is called after each attempt, unless it is nil.
	OnRefresh func(Event)
}

// An Event is the outcome of one attempt to fetch keys.
type Event struct {
	// Result is "ok", "unchanged" or the class of an error.
	Result   string
	Keys     int
	Skipped  map[string]int
	Duration time.Duration
}

// Results of an attempt that succeeded.
const (
	resultOK        = "ok"
	resultUnchanged = "unchanged"
)

// A Source keeps the JWK Set of one issuer. It is safe for concurrent use.
// Readers load an atomic pointer; they take no lock.
//
// A fetch is started by the first use, by a timer from then on, and by a caller
// whose key is unknown or whose set is stale. Between fetches there is a timer
// and no goroutine, so a source that was dropped without Close costs nothing
// once the timer has found it idle; and a source with little traffic still
// learns in time that a key was removed, which refreshing on use alone would
// not give. A stale set is not used before one attempt to refresh it has
// failed or has taken too long, so the age of what is used is bounded by its
// freshness whenever the issuer answers.
type Source struct {
	fetcher   fetcher
	snapshot  *snapshot // nil when there is none
	onRefresh func(Event)
	logger    *slog.Logger
	hint      string // what may be wrong with the URL

	current atomic.Pointer[cached] // never nil
	// used is set by callers and reset by the timer. Callers write it once in
	// a period, so they do not contend for its cache line.
	used atomic.Bool
	// running are the goroutines of attempts.
	running sync.WaitGroup
	// saving is set while the snapshot is being written.
	saving atomic.Bool

	mu     sync.Mutex
	closed bool
	// active is set while an attempt is under way or the timer is set.
	active bool
	timer  *time.Timer
	// due is when the timer fires next; zero when it is not set.
	due time.Time
	// attempt is the one under way, or nil.
	attempt *attempt
	// attemptedAt is when the last attempt began.
	attemptedAt time.Time
	usedAt      time.Time
	// waiting counts the callers of Ready.
	waiting int
	// failures counts attempts since the last success.
	failures  int
	lastError string
	// fetchedOnce is set when the issuer has answered this source before.
	fetchedOnce bool
	// changed is closed and replaced when current has improved, and when the
	// source is closed.
	changed chan struct{}
}

// An attempt is one fetch that any number of callers wait for.
type attempt struct {
	cancel context.CancelFunc
	// done is closed when the outcome is in place. Then err may be read.
	done chan struct{}
	err  error
}

// New returns a source. It does no I/O: the first use fetches the set.
func New(config *Config) *Source {
	s := &Source{
		fetcher:   newFetcher(config),
		onRefresh: config.OnRefresh,
		logger:    config.Logger,
		changed:   make(chan struct{}),
	}
	if strings.HasSuffix(config.Issuer, "/") {
		s.hint = "the configured issuer ends with a slash"
	}
	if config.SnapshotFile != "" {
		s.snapshot = newSnapshot(config)
	}
	s.current.Store(&cached{set: config.Seed, seed: config.Seed != nil})
	return s
}

// Key returns the key with that ID. The error wraps [ErrUnknown] when the
// issuer publishes no such key, and [ErrUnavailable] when that cannot be known
// now.
func (s *Source) Key(ctx context.Context, keyID string) (*jwk.Key, error) {
	now := time.Now()
	if !s.used.Load() {
		s.use(now)
	}
	current := s.current.Load()
	if key := current.key(keyID, now); key != nil && (current.fresh(now) || current.failing()) {
		return key, nil
	}
	return s.keyAfterRefresh(ctx, keyID, now)
}

// keyAfterRefresh is for an unknown key and for a set that is not fresh. Here
// alone a caller waits: within its own context, and at most maxWait.
func (s *Source) keyAfterRefresh(ctx context.Context, keyID string, now time.Time) (*jwk.Key, error) {
	var waitErr error
	if a := s.refresh(now, cooldown); a != nil {
		waitErr = a.wait(ctx)
	}
	now, current := time.Now(), s.current.Load()
	if key := current.key(keyID, now); key != nil {
		return key, nil
	}
	switch {
	case waitErr != nil:
		return nil, waitErr
	case current.refreshErr != nil:
		// The key may have been published since the set was fetched.
		return nil, current.refreshErr
	case current.fresh(now):
		return nil, ErrUnknown
	default:
		return nil, errNotFetched
	}
}

// wait returns nil when the attempt has ended, whatever its outcome.
func (a *attempt) wait(ctx context.Context) error {
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	select {
	case <-a.done:
		return nil
	case <-timeout.C:
		return errWaited
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

func gaveUp(ctx context.Context) error {
	return fmt.Errorf("%w: gave up waiting for the issuer's JWK Set: %w", ErrUnavailable, context.Cause(ctx))
}

// use notes that the source is in use, and starts it if it is at rest.
func (s *Source) use(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Store(true)
	s.usedAt = now
	if !s.active && !s.closed {
		s.begin(now)
	}
}

// refresh returns the attempt that is under way, or begins one. It returns nil
// when the last attempt began less than minGap ago: invented key IDs must not
// make us call the issuer, least of all one that is down.
//
// After a failure, tokens leave the next attempt to the timer. Theirs would
// come as soon as the cooldown ends, and so at the same time from all
// verifiers that failed at the same time; the timer's are spread.
func (s *Source) refresh(now time.Time, minGap time.Duration) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil
	case s.attempt != nil:
		return s.attempt
	case !s.attemptedAt.IsZero() && now.Sub(s.attemptedAt) < minGap,
		minGap > 0 && s.failures > 0 && now.Before(s.due):
		return nil
	}
	s.begin(now)
	return s.attempt
}

// begin starts an attempt. The caller holds mu, and has checked that none is
// under way and the source is not closed.
//
// The context of an attempt is no caller's: the keys are for all of them.
//
//nolint:contextcheck,nolintlint // see above; nolintlint does not see that contextcheck uses it
func (s *Source) begin(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	a := &attempt{cancel: cancel, done: make(chan struct{})}
	s.active, s.attemptedAt, s.due, s.attempt = true, now, now, a
	s.running.Go(func() { s.run(ctx, a) })
}

// run is the goroutine of an attempt. Callers go on as soon as the outcome is
// in place; reports and the snapshot come after that.
func (s *Source) run(ctx context.Context, a *attempt) {
	defer a.cancel()
	start := time.Now()
	old := s.loadSnapshot()
	next, err := s.fetcher.fetch(ctx, old)
	event := newEvent(old, next, err)
	event.Duration = time.Since(start)

	failures, ok := s.finish(a, next, err)
	close(a.done)
	if !ok {
		return
	}
	s.report(old, event, err, failures)
	if err == nil && s.snapshot != nil {
		s.save(next)
	}
}

// newEvent describes an attempt that was made with the set old in use.
func newEvent(old, next *cached, err *fetchError) Event {
	switch {
	case err != nil:
		return Event{Result: err.class}
	case old.sameKeys(next):
		return Event{Result: resultUnchanged, Keys: next.set.Len(), Skipped: maps.Clone(next.skipped)}
	default:
		return Event{Result: resultOK, Keys: next.set.Len(), Skipped: maps.Clone(next.skipped)}
	}
}

// finish puts the outcome of an attempt in place and sets the timer for the
// next one. It returns how many attempts in a row have failed before. It
// returns false when the source was closed in the meantime: then there is no
// outcome.
func (s *Source) finish(a *attempt, next *cached, err *fetchError) (failures int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt = nil
	if s.closed {
		a.err = errClosed
		return 0, false
	}
	now, failures := time.Now(), s.failures
	if err != nil {
		a.err = s.unavailable(err)
		s.failures++
		s.lastError = err.class
		s.current.Store(s.current.Load().withRefreshErr(a.err))
		s.due = now.Add(s.retryAfter())
	} else {
		s.failures, s.lastError, s.fetchedOnce = 0, "", true
		s.current.Store(next)
		s.broadcast()
		s.due = next.refreshAt
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(s.due.Sub(now), s.onTimer)
	} else {
		s.timer.Reset(s.due.Sub(now))
	}
	return failures, true
}

// unavailable is what callers get after a failed attempt.
func (s *Source) unavailable(err *fetchError) error {
	text := fmt.Sprintf("fetching %s: %v", s.fetcher.url, err)
	if s.hint != "" {
		text += "; " + s.hint
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, text)
}

// retryAfter spreads retries, so that the verifiers of an issuer that comes
// back do not ask it all at once. As long as there was no answer at all, the
// first retries come quickly: consumers and their issuer often start together.
func (s *Source) retryAfter() time.Duration {
	wait := cooldown
	if doublings := s.failures - 1; !s.fetchedOnce && doublings < 5 {
		wait = firstRetry << doublings
	}
	return wait + rand.N(wait/5) //nolint:gosec // jitter needs no secrecy
}

// broadcast wakes the callers of Ready. The caller holds mu.
func (s *Source) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// onTimer refreshes the set, or puts a source to rest that is not used.
func (s *Source) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.attempt != nil {
		return
	}
	now := time.Now()
	if s.used.Swap(false) || s.waiting > 0 {
		s.usedAt = now
	}
	if now.Sub(s.usedAt) < idleAfter {
		s.begin(now)
		return
	}
	s.active, s.due = false, time.Time{}
	// Whether the issuer answers is not known any more: the next caller waits
	// for an attempt before it uses a stale set.
	s.current.Store(s.current.Load().withRefreshErr(nil))
}

// report logs and passes on the outcome of an attempt. The log has one line
// when an outage begins, one when it ends, and one when keys cannot be used.
func (s *Source) report(old *cached, event Event, err *fetchError, failures int) {
	switch {
	case err != nil && failures == 0:
		attrs := []any{slog.String("url", s.fetcher.url), slog.String("error", err.class)}
		if err.status != 0 {
			attrs = append(attrs, slog.Int("status", err.status))
		}
		if s.hint != "" {
			attrs = append(attrs, slog.String("hint", s.hint))
		}
		s.logger.Warn("cannot fetch the issuer's keys", attrs...)
	case err == nil && failures > 0:
		s.logger.Info("fetched the issuer's keys again", slog.Int("keys", event.Keys), slog.Int("failures", failures))
	}
	if len(event.Skipped) > 0 && !maps.Equal(event.Skipped, old.skipped) {
		s.logger.Warn("some of the issuer's keys cannot be used", slog.Any("skipped", event.Skipped))
	}
	if s.onRefresh != nil {
		s.onRefresh(event)
	}
}

// Refresh fetches the set now, due or not, or waits for an attempt that is
// under way already. The error wraps [ErrUnavailable].
func (s *Source) Refresh(ctx context.Context) error {
	now := time.Now()
	s.use(now)
	a := s.refresh(now, 0)
	if a == nil {
		return errClosed
	}
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

// Ready returns nil as soon as there are keys to use, fresh or stale. It tries
// for as long as ctx allows. The error wraps [ErrUnavailable].
func (s *Source) Ready(ctx context.Context) error {
	s.countWaiting(1)
	defer s.countWaiting(-1)
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
		s.mu.Unlock()
		now := time.Now()
		s.use(now)
		switch {
		case s.current.Load().usable(now):
			return nil
		case closed:
			return errClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return gaveUp(ctx)
		}
	}
}

func (s *Source) countWaiting(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
}

// Close ends every goroutine and waits for it. The set stays usable for as long
// as it may be used without the issuer.
func (s *Source) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.due = time.Time{}
		if s.timer != nil {
			s.timer.Stop()
		}
		if s.attempt != nil {
			s.attempt.cancel()
		}
		s.broadcast()
	}
	s.mu.Unlock()
	s.running.Wait()
}
