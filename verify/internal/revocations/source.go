package revocations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

const (
	// patience is how long a caller waits for the feed.
	patience = 2 * time.Second
	// cooldown is the least time between two requests that callers cause.
	cooldown = time.Second
	// minPause is the least time between an answer and the next request.
	minPause = 100 * time.Millisecond
	// The first retry is anywhere in firstRetry; later ones wait from minRetry,
	// doubling, to maxRetry.
	firstRetry = time.Second
	minRetry   = time.Second
	maxRetry   = 30 * time.Second
	// idleAfter is how long a source follows the feed without being used.
	idleAfter = time.Hour
)

// ErrUnavailable means that what is known of ended sessions is too old to judge
// one by.
var ErrUnavailable = errors.New("revocations are unavailable")

var (
	errWaited = fmt.Errorf("%w: the issuer's feed did not answer within %v", ErrUnavailable, patience)
	errOld    = fmt.Errorf("%w: what the issuer's feed says is too old", ErrUnavailable)
	errClosed = fmt.Errorf("%w: the verifier is closed", ErrUnavailable)
)

// Config says which feed to follow. Issuer, URL and Logger are required.
type Config struct {
	// Issuer is the issuer that the feed must be of.
	Issuer string
	// URL is the address of the feed.
	URL string
	// Client asks it. Nil: a client of our own.
	Client *http.Client
	// MaxAge is how old knowledge may get if that is less than the feed's own
	// limit; 0 for that one.
	MaxAge time.Duration
	// SnapshotFile keeps the knowledge for a restart; empty for none.
	SnapshotFile string
	// Leeway is how far clocks may be apart, for the age of a snapshot.
	Leeway time.Duration
	// Logger gets a line when an outage begins and ends, and about the snapshot.
	Logger *slog.Logger
	// OnNews is called when sessions or keys have died, unless it is nil.
	OnNews func()
	// OnAnswer is called after each request, unless it is nil.
	OnAnswer func(Event)
}

// An Event is the outcome of one request.
type Event struct {
	// Result is a [Verdict], or the class of an error.
	Result string
	// Age and Entries are those of what is known now; the age is 0 if that is not
	// complete as of any time.
	Age      time.Duration
	Entries  int
	Duration time.Duration
}

// A Source follows the feed of one issuer. It is safe for concurrent use. Readers
// load an atomic pointer; they take no lock.
//
// While it is used, one goroutine asks the feed again and again, and the feed
// answers when there is news. A caller for whom the knowledge is too old
// interrupts a request that waits for news, or the pause between two; it waits
// for an answer no longer than patience, and not at all while requests fail.
type Source struct {
	issuer   string
	fetcher  fetcher
	snapshot *snapshot // nil when there is none
	onNews   func()
	onAnswer func(Event)
	logger   *slog.Logger
	maxAge   time.Duration
	started  time.Time // of the monotonic clock

	known atomic.Pointer[Knowledge] // never nil
	// changing is held to replace known.
	changing sync.Mutex
	// demand is the smallest age that any caller demands, 0 for none but the
	// feed's.
	demand atomic.Int64
	// used is set by callers and reset between requests. Callers write it once in
	// between, so they do not contend for its cache line.
	used atomic.Bool
	// running is the goroutine that follows.
	running sync.WaitGroup
	// hurry ends a pause.
	hurry chan struct{}

	mu sync.Mutex
	// stop ends following, nil while the source is at rest.
	stop   context.CancelFunc
	closed bool
	usedAt time.Time
	// waiting counts the callers of Ready.
	waiting int
	// request is the one under way, or about to begin; nil between two.
	request *request
	// askedAt is when the last request began.
	askedAt time.Time
	// completed counts requests that succeeded or failed. Failures counts those
	// that failed since the last success; failure is the error that callers get
	// meanwhile, lastError its word.
	completed, failures int
	failure             error
	lastError           string
	// outage is set while requests fail that do not wait for news; reported once
	// the log says so.
	outage, reported bool
	// hasty is set if the next request must not wait for news.
	hasty bool
	// refused counts answers that were refused, by reason.
	refused map[string]int
	// ended is closed and replaced when a request has ended, and when the source
	// is closed.
	ended chan struct{}
}

// A request is one on its way.
type request struct {
	cancel context.CancelFunc
	// waits is set if it may wait for news; interrupted if it must not any more.
	waits, interrupted bool
}

// New returns a source. It does no I/O: the first use asks the feed.
func New(config *Config) *Source {
	s := &Source{
		issuer: config.Issuer, fetcher: newFetcher(config), snapshot: newSnapshot(config),
		onNews: config.OnNews, onAnswer: config.OnAnswer, logger: config.Logger, maxAge: config.MaxAge,
		started: time.Now(), hurry: make(chan struct{}, 1), ended: make(chan struct{}),
		refused: map[string]int{},
	}
	s.known.Store(new(Knowledge))
	s.demand.Store(int64(config.MaxAge))
	return s
}

// now reads both clocks.
func (s *Source) now() Instant {
	now := time.Now()
	return Instant{Monotonic: now.Sub(s.started), Wall: now.Round(0)}
}

// Demand makes the source ask often enough for callers who demand that age.
func (s *Source) Demand(maxAge time.Duration) {
	for {
		demand := s.demand.Load()
		if demand > 0 && demand <= int64(maxAge) || s.demand.CompareAndSwap(demand, int64(maxAge)) {
			return
		}
	}
}

// Known returns what is known of ended sessions, and an error that wraps
// [ErrUnavailable] if that is older than the source's maximal age or than limit,
// unless that is 0. It then waits for the feed if that is likely to help, at most
// 2 seconds and within ctx.
func (s *Source) Known(ctx context.Context, limit time.Duration) (*Knowledge, error) {
	s.Use()
	known := s.known.Load()
	if known.Fresh(s.now(), s.least(limit)) {
		return known, nil
	}
	return s.await(ctx, limit)
}

// least returns the smaller of limit and the config's maximal age, each 0 for
// none.
func (s *Source) least(limit time.Duration) time.Duration {
	if limit <= 0 || s.maxAge > 0 && s.maxAge < limit {
		return s.maxAge
	}
	return limit
}

// await is for callers for whom the knowledge is too old.
func (s *Source) await(ctx context.Context, limit time.Duration) (*Knowledge, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		ended, failure := s.hasten()
		// After that, as what is known may have just become younger.
		known := s.known.Load()
		switch {
		case known.Fresh(s.now(), s.least(limit)):
			return known, nil
		case failure != nil:
			return known, failure
		}
		select {
		case <-ended:
		case <-timeout.C:
			return known, errWaited
		case <-ctx.Done():
			return known, gaveUp(ctx)
		}
	}
}

func gaveUp(ctx context.Context) error {
	return fmt.Errorf("%w: gave up waiting for the issuer's feed: %w", ErrUnavailable, context.Cause(ctx))
}

// hasten gets an answer as soon as possible, and returns what is closed when the
// next request has ended; or an error if it is of no use to wait for that.
func (s *Source) hasten() (ended <-chan struct{}, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errClosed
	case s.stop == nil:
		s.begin()
	case s.outage:
		return nil, s.failure // also while the next one is under way: it may hang
	case s.request != nil:
		s.interrupt()
	case time.Since(s.askedAt) < cooldown:
		// Another request would say the same.
		return nil, errOld
	default:
		s.interrupt()
	}
	return s.ended, nil
}

// interrupt ends a request that waits for news or the pause between two, so that
// the next one, which does not wait, begins now. The caller holds mu.
func (s *Source) interrupt() {
	if s.request == nil {
		s.hasty = true
		select {
		case s.hurry <- struct{}{}:
		default:
		}
	} else if s.request.waits {
		s.hasty, s.request.interrupted = true, true
		s.request.cancel()
	}
}

// Use notes that the source is in use, and starts it if it is at rest. It does not
// wait.
func (s *Source) Use() {
	if !s.used.Load() {
		s.use()
	}
}

func (s *Source) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Store(true)
	s.usedAt = time.Now()
	if s.stop == nil && !s.closed {
		s.begin()
	}
}

// begin starts following. The caller holds mu, and has checked that the source is
// at rest and not closed. The context is no caller's: the knowledge is for all of
// them.
//
//nolint:contextcheck,nolintlint // see above; nolintlint does not see that contextcheck uses it
func (s *Source) begin() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.usedAt, s.request, s.hasty = stop, time.Now(), &request{cancel: stop}, true
	s.running.Go(func() {
		defer stop()
		s.follow(ctx)
	})
}

// Peek is [Source.Known] for a caller that must not wait.
func (s *Source) Peek() (*Knowledge, error) {
	s.Use()
	known := s.known.Load()
	if known.Fresh(s.now(), s.maxAge) {
		return known, nil
	}
	_, failure := s.hasten()
	return known, cmp.Or(failure, errOld)
}

// Left returns for how long what is known may still be used if no answer comes, at
// most 0 if it may not.
func (s *Source) Left() time.Duration {
	known := s.known.Load()
	age, ok := known.Age(s.now())
	if !ok {
		return 0
	}
	return known.limit(s.maxAge) - age
}

// Refuse ends a session here and now, whatever the feed says.
func (s *Source) Refuse(r wire.Revocation) {
	s.change(func(k *Knowledge) (*Knowledge, Verdict) { return k.With(r), Taken })
	if s.onNews != nil {
		s.onNews()
	}
}

// change replaces what is known.
func (s *Source) change(by func(*Knowledge) (*Knowledge, Verdict)) (next *Knowledge, verdict Verdict) {
	s.changing.Lock()
	defer s.changing.Unlock()
	next, verdict = by(s.known.Load())
	s.known.Store(next)
	return next, verdict
}

// Refresh asks the feed now, or waits for a request that is under way and does not
// wait for news. The error wraps [ErrUnavailable].
func (s *Source) Refresh(ctx context.Context) error {
	s.Use()
	s.mu.Lock()
	before := s.completed
	s.interrupt()
	for {
		ended, completed, failure, closed := s.ended, s.completed, s.failure, s.closed
		s.mu.Unlock()
		switch {
		case completed != before:
			return failure
		case closed:
			return errClosed
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return gaveUp(ctx)
		}
		s.mu.Lock()
	}
}

// Ready returns nil as soon as sessions can be judged. It tries for as long as ctx
// allows. The error wraps [ErrUnavailable].
func (s *Source) Ready(ctx context.Context) error {
	s.countWaiting(1)
	defer s.countWaiting(-1)
	for {
		s.Use()
		s.mu.Lock()
		ended, closed := s.ended, s.closed
		s.mu.Unlock()
		switch {
		case s.known.Load().Fresh(s.now(), s.maxAge):
			return nil
		case closed:
			return errClosed
		}
		select {
		case <-ended:
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

// Close ends the goroutine and waits for it. What is known stays in use until it
// is too old.
func (s *Source) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		if s.stop != nil {
			s.stop()
		}
		s.broadcast()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// broadcast wakes those who wait for the end of a request. The caller holds mu.
func (s *Source) broadcast() {
	close(s.ended)
	s.ended = make(chan struct{})
}
