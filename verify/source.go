package verify

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// When keys are fetched.
const (
	// waitForKeys is how long a caller waits at most.
	waitForKeys = 2 * time.Second
	// refreshCooldown is the least time between two attempts that tokens
	// cause, whatever became of the first one.
	refreshCooldown = 30 * time.Second
	// firstRetry is when a first fetch is tried again.
	firstRetry = time.Second
	// idleAfter is how long a verifier that nobody asks anything goes on
	// refreshing.
	idleAfter = time.Hour
)

var (
	errNoKeys   = &failure{ErrKeysUnavailable, nil, "the issuer's JWK Set could not be fetched"}
	errWaited   = &failure{ErrKeysUnavailable, nil, "waited 2 s for the issuer's JWK Set"}
	errIsClosed = &failure{ErrKeysUnavailable, nil, "the verifier is closed"}
)

// A source is a [KeySource] that keeps the issuer's JWK Set. Readers take what
// an atomic pointer holds; nothing on their way is locked.
//
// Who starts a fetch: the first use, a timer from then on, and a caller whose
// key is unknown or whose set is stale. Between fetches there is a timer and
// no goroutine, so a verifier that was dropped without Close costs nothing
// once the timer sees that it is idle; and one with little traffic still
// learns in time that a key was removed, which refreshing on use alone would
// not give. A stale set is not used before one attempt to refresh it has
// failed or has taken too long, so that the age of what is used is bounded by
// its freshness whenever the issuer answers.
type source struct {
	fetcher  fetcher
	snapshot *snapshot // nil when there is none
	observer Observer  // nil when there is none
	logger   *slog.Logger

	// current is never nil.
	current atomic.Pointer[fetched]
	// used says that somebody asked since the timer last looked. Readers write
	// it once in a period, so they do not fight over its cache line.
	used atomic.Bool
	// running are the goroutines of fetches.
	running sync.WaitGroup
	// saving says that the snapshot is being written.
	saving atomic.Bool

	mu     sync.Mutex
	closed bool
	// awake says that a fetch is under way or the timer is set.
	awake bool
	timer *time.Timer
	// due is when the timer fires next, zero when it is not set.
	due time.Time
	// flight is the fetch that is under way, or nil.
	flight *flight
	// lastAttempt is when the last fetch began, whatever became of it.
	lastAttempt time.Time
	lastUse     time.Time
	// waiting counts the callers of ready.
	waiting int
	// failures counts attempts since the last good one.
	failures  int
	lastError string
	// fetchedOnce says that the issuer has answered this verifier before.
	fetchedOnce bool
	// changed is closed, and replaced, when current has changed for the
	// better, and when the source is closed.
	changed chan struct{}
}

// A flight is one fetch that any number of callers wait for.
type flight struct {
	cancel context.CancelFunc
	// done is closed when the outcome is in place. err may be read then.
	done chan struct{}
	err  error
}

func newSource(config *Config) *source {
	s := &source{
		fetcher:  newFetcher(config),
		observer: config.Observer,
		logger:   config.Logger,
		changed:  make(chan struct{}),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if config.SnapshotFile != "" {
		s.snapshot = newSnapshot(config)
	}
	s.current.Store(&fetched{set: config.Keys, seed: config.Keys != nil})
	return s
}

// Key implements [KeySource].
func (s *source) Key(ctx context.Context, keyID string) (*jwk.Key, error) {
	key, _, err := s.keyAndTime(ctx, keyID)
	return key, err
}

// keyAndTime also returns the time at which the key was found: who asks for a
// key needs that next, and a look at the clock costs as much as the key.
func (s *source) keyAndTime(ctx context.Context, keyID string) (*jwk.Key, time.Time, error) {
	now := time.Now()
	if !s.used.Load() {
		s.wake(now)
	}
	current := s.current.Load()
	if key := current.usableKey(keyID, now); key != nil && (current.failing || current.fresh(now)) {
		return key, now, nil
	}
	return s.keyAfterRefresh(ctx, keyID, now)
}

// keyAfterRefresh is for an unknown key and for a set that is not fresh: the
// one place where a caller waits, for its own context and not for long.
func (s *source) keyAfterRefresh(ctx context.Context, keyID string, now time.Time) (*jwk.Key, time.Time, error) {
	var waited error
	if f := s.refresh(now, refreshCooldown); f != nil {
		waited = f.wait(ctx)
	}
	now, current := time.Now(), s.current.Load()
	if key := current.usableKey(keyID, now); key != nil {
		return key, now, nil
	}
	switch {
	case waited != nil:
		return nil, now, waited
	case current.fresh(now):
		return nil, now, errUnknown
	default:
		return nil, now, errNoKeys
	}
}

// wait returns nil when the flight is over, whatever its outcome.
func (f *flight) wait(ctx context.Context) error {
	timeout := time.NewTimer(waitForKeys)
	defer timeout.Stop()
	select {
	case <-f.done:
		return nil
	case <-timeout.C:
		return errWaited
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

func gaveUp(ctx context.Context) error {
	return &failure{ErrKeysUnavailable, context.Cause(ctx), "gave up waiting for the issuer's JWK Set"}
}

// wake notes that the source is in use, and starts it if it is not running.
func (s *source) wake(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Store(true)
	s.lastUse = now
	if !s.awake && !s.closed {
		s.begin(now)
	}
}

// refresh returns the fetch that is under way, or begins one. It returns nil
// while the last attempt is more recent than cooldown: a stranger who invents
// key IDs must not make us call the issuer, least of all one that is down.
//
// After a failure, tokens leave the next attempt to the timer. Theirs would
// come as soon as the cooldown is over, and so from all verifiers at once that
// failed at once; the timer's are spread.
func (s *source) refresh(now time.Time, cooldown time.Duration) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil
	case s.flight != nil:
		return s.flight
	case !s.lastAttempt.IsZero() && now.Sub(s.lastAttempt) < cooldown,
		cooldown > 0 && s.failures > 0 && now.Before(s.due):
		return nil
	}
	s.begin(now)
	return s.flight
}

// begin starts a fetch. The caller holds mu and has seen that none is under
// way and the source is not closed.
//
// The context of a fetch is no caller's: the keys are for all of them.
// (contextcheck takes this line as an answer, and nolintlint does not see it.)
//
//nolint:contextcheck,nolintlint // see above
func (s *source) begin(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	f := &flight{cancel: cancel, done: make(chan struct{})}
	s.awake, s.lastAttempt, s.due, s.flight = true, now, now, f
	s.running.Go(func() { s.fly(ctx, f) })
}

// fly is the goroutine of a fetch. Callers go on as soon as the outcome is in
// place; telling others about it and the snapshot come after.
func (s *source) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	start := time.Now()
	old := s.loadSnapshot()
	next, err := s.fetcher.fetch(ctx, old)
	event := describe(old, next, err)
	event.Duration = time.Since(start)

	failures, ok := s.land(f, next, err)
	close(f.done)
	if !ok {
		return
	}
	s.tell(old, event, failures)
	if err == nil && s.snapshot != nil {
		s.save(next)
	}
}

// save writes the snapshot, unless the disk still hangs over the last one.
func (s *source) save(keys *fetched) {
	if !s.saving.CompareAndSwap(false, true) {
		return
	}
	defer s.saving.Store(false)
	if err := s.snapshot.save(keys); err != nil {
		s.logger.Warn("cannot write the key snapshot; after a restart during an outage there will be no keys",
			slog.String("error", err.Error()))
	}
}

// loadSnapshot returns the current set, after a look at the file for the first
// flight. Flights come one after the other, so there is no race for it.
func (s *source) loadSnapshot() *fetched {
	current := s.current.Load()
	if s.snapshot == nil || s.snapshot.loaded {
		return current
	}
	s.snapshot.loaded = true
	kept, err := s.snapshot.load(time.Now())
	switch {
	case errors.Is(err, errNoSnapshot):
		return current
	case err != nil:
		s.logger.Warn("ignoring the key snapshot", slog.String("reason", err.Error()))
		return current
	}
	s.logger.Info("found keys in the snapshot", slog.Time("fetched_at", kept.at), slog.Int("keys", kept.set.Len()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.Store(kept)
	s.announce()
	return kept
}

// land puts the outcome of a fetch in place, ends the flight and sets the timer
// for the next one. It returns how many in a row have failed before. It is
// false when the source was closed in the meantime: then there is no outcome.
func (s *source) land(f *flight, next *fetched, err error) (failures int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if s.closed {
		f.err = errIsClosed
		return 0, false
	}
	now, failures := time.Now(), s.failures
	if err != nil {
		f.err = &failure{ErrKeysUnavailable, nil, "fetching the issuer's JWK Set: " + err.Error()}
		s.failures++
		s.lastError = err.Error()
		s.setFailing(true)
		s.due = now.Add(s.retryAfter())
	} else {
		s.failures, s.lastError, s.fetchedOnce = 0, "", true
		s.current.Store(next)
		s.announce()
		s.due = next.refreshAt
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(s.due.Sub(now), s.tick)
	} else {
		s.timer.Reset(s.due.Sub(now))
	}
	return failures, true
}

// setFailing marks the current set. The caller holds mu.
func (s *source) setFailing(failing bool) {
	marked := *s.current.Load()
	marked.failing = failing
	s.current.Store(&marked)
}

// retryAfter spreads retries out, so that an issuer that comes back is not
// met by everybody at once. As long as there was no answer at all, the first
// ones come quickly: consumers and their issuer often start together.
func (s *source) retryAfter() time.Duration {
	wait := refreshCooldown
	if doublings := s.failures - 1; !s.fetchedOnce && doublings < 5 {
		wait = firstRetry << doublings
	}
	return wait + rand.N(wait/5) //nolint:gosec // jitter needs no secrecy
}

// announce wakes everybody who waits for keys. The caller holds mu.
func (s *source) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// tick is what the timer calls. A verifier that nobody has used for long goes
// to rest; its next use wakes it.
func (s *source) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.flight != nil {
		return
	}
	now := time.Now()
	if s.used.Swap(false) || s.waiting > 0 {
		s.lastUse = now
	}
	if now.Sub(s.lastUse) < idleAfter {
		s.begin(now)
		return
	}
	s.awake, s.due = false, time.Time{}
	// What was true of the issuer is not known any more: the next caller
	// waits for an attempt before a stale set is used again.
	s.setFailing(false)
}

// tell reports the outcome of a fetch. The log has one line when an outage
// begins, one when it ends, and one when keys are left out; the rest is for
// the observer.
func (s *source) tell(old *fetched, event Refresh, failures int) {
	failed := event.Result != ResultOK && event.Result != ResultUnchanged
	switch {
	case failed && failures == 0:
		s.logger.Warn("cannot fetch the issuer's keys", slog.String("error", event.Result))
	case !failed && failures > 0:
		s.logger.Info("fetched the issuer's keys again", slog.Int("keys", event.Keys), slog.Int("failures", failures))
	}
	if len(event.Skipped) > 0 && !maps.Equal(event.Skipped, old.skipped) {
		s.logger.Warn("some of the issuer's keys cannot be used", slog.Any("skipped", event.Skipped))
	}
	if s.observer != nil {
		s.observer.Refreshed(event)
	}
}

// refreshNow fetches keys whether they are due or not.
func (s *source) refreshNow(ctx context.Context) error {
	now := time.Now()
	s.wake(now)
	f := s.refresh(now, 0)
	if f == nil {
		return errIsClosed
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

// ready waits until there are keys to use.
func (s *source) ready(ctx context.Context) error {
	s.countWaiting(1)
	defer s.countWaiting(-1)
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
		s.mu.Unlock()
		now := time.Now()
		s.wake(now)
		switch {
		case s.current.Load().usable(now):
			return nil
		case closed:
			return errIsClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return gaveUp(ctx)
		}
	}
}

func (s *source) countWaiting(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
}

// close ends everything that runs, and waits for its end.
func (s *source) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.due = time.Time{}
		if s.timer != nil {
			s.timer.Stop()
		}
		if s.flight != nil {
			s.flight.cancel()
		}
		s.announce()
	}
	s.mu.Unlock()
	s.running.Wait()
}
