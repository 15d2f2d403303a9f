package feed

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

const (
	// interval is how often the log is read, and spacing the least time between
	// two reads, however many callers ask for one.
	interval = 500 * time.Millisecond
	spacing  = 50 * time.Millisecond
	// catchUp is how long a caller waits for the log to be read.
	catchUp = 2 * time.Second
	// awayAfter is how long reads fail until the log counts as away: a restart of a
	// database is shorter.
	awayAfter = 2 * time.Second
	// dropInterval is how often entries are dropped from memory.
	dropInterval = 10 * time.Second
	// slowestRead bounds a read of the log.
	slowestRead = 10 * time.Second
)

// ErrUnavailable means that what is known about the log is too old, or nothing
// is known yet.
var ErrUnavailable = errors.New("revocations are unavailable")

// Config configures a [Follower].
type Config struct {
	// Issuer is the issuer's URL.
	Issuer string
	// Log is the log, nil if sessions cannot be ended here.
	Log revocations.Log
	// MaxAge is for how long what is known about the log may be used, in whole
	// seconds.
	MaxAge time.Duration
	// RevokedKeys returns the IDs of the signing keys that the key manifest in use
	// has revoked. It is called after each read. Default: none.
	RevokedKeys func() []string
	// Logger reports when the log goes away and comes back. Default: none.
	Logger *slog.Logger
}

// A Follower follows a log. Its methods are safe for concurrent use.
type Follower struct {
	config Config
	asked  chan struct{} // has a value when the log is to be read at once
	slots  *bulkhead

	// latest is the latest time before which anything but a single session was
	// ended, in seconds since 1970.
	latest atomic.Int64
	// keys reports whether the log has signing keys that have been revoked.
	keys atomic.Bool
	made time.Time

	// reading is the read in progress, nil if there is none. One that hangs is not
	// followed by another. It began at readingSince. Only readOnce has both.
	reading      <-chan result[revocations.Page]
	readingSince time.Time

	mu       sync.RWMutex
	index    *index
	position revocations.Position
	began    time.Time // when the last complete read began; zero: there was none
	ahead    time.Duration
	failure  error         // of the last read
	failing  time.Time     // since when reads fail; zero: they do not
	dropped  time.Time     // when entries were last dropped
	manifest []string      // the keys that the manifest revokes
	edition  *edition      // what is known, for consumers
	news     chan struct{} // closed when there is more to say than the edition said, or nothing at all
	read     chan struct{} // closed when a read has ended
}

// New returns a follower. Call [Follower.Run].
func New(config Config) *Follower {
	if config.RevokedKeys == nil {
		config.RevokedKeys = func() []string { return nil }
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{
		config: config, asked: make(chan struct{}, 1), slots: newBulkhead(appendsAtOnce), index: newIndex(),
		news: make(chan struct{}), read: make(chan struct{}), made: time.Now(),
	}
	f.manifest = config.RevokedKeys()
	f.publish(false)
	return f
}

// Run reads the log every half second, and at once after something was appended
// here, until ctx is done.
func (f *Follower) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		f.readOnce(ctx)
		select {
		case <-time.After(spacing):
		case <-ctx.Done():
		}
		select {
		case <-ticker.C:
		case <-f.asked:
		case <-ctx.Done():
		}
	}
}

// Refresh reads the log now, before Run does.
func (f *Follower) Refresh(ctx context.Context) error {
	f.readOnce(ctx)
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.failure
}

// readOnce reads what is new in the log. Without a log, it looks for keys that the
// manifest revokes.
func (f *Follower) readOnce(ctx context.Context) {
	if f.config.Log == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.updateKeys() {
			f.publish(true)
		}
		return
	}
	f.mu.RLock()
	position := f.position
	f.mu.RUnlock()
	limited, cancel := context.WithTimeout(ctx, min(slowestRead, f.config.MaxAge/2))
	defer cancel()
	if f.reading == nil {
		f.readingSince = time.Now()
		f.reading = begin(func() (revocations.Page, error) { return f.config.Log.Read(limited, position) })
	}
	r, ended := inTime(limited, f.reading)
	if ended {
		f.reading = nil
	}
	if r.err != nil {
		f.fail(ctx, r.err)
		return
	}
	away, another := f.apply(&r.value, f.readingSince)
	if away > 0 {
		f.config.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation log is back", slog.Float64("away_seconds", away.Seconds()))
	}
	if another {
		f.config.Logger.LogAttrs(ctx, slog.LevelWarn, "revocation log is another one now")
	}
}

func (f *Follower) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the end of Run
	}
	f.mu.Lock()
	first := f.failing.IsZero()
	if first {
		f.failing = time.Now()
	}
	f.failure = err
	if f.updateKeys() {
		f.publish(true)
	}
	if f.away() {
		f.wake() // another replica may know more
	}
	f.endRead()
	f.mu.Unlock()
	if first {
		f.config.Logger.LogAttrs(ctx, slog.LevelError, "revocation log is away", slog.String("error", err.Error()))
	}
}

// apply takes over what was read. It returns how long the log was away before, and
// whether it is another incarnation than it was.
func (f *Follower) apply(page *revocations.Page, began time.Time) (away time.Duration, another bool) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.failing.IsZero() {
		away = now.Sub(f.failing)
		f.failing, f.failure = time.Time{}, nil
	}
	another = f.position.Log != "" && f.position.Log != page.Position.Log
	f.began, f.ahead = began, difference(page.Clock, began, now)
	moved := page.Position != f.position
	news := f.take(page)
	news = f.updateKeys() || news
	f.position = page.Position
	dropped := now.Sub(f.dropped) >= dropInterval && f.index.drop(now)
	if dropped || f.dropped.IsZero() {
		f.dropped = now
	}
	f.share()
	if news || moved || dropped {
		f.publish(news)
	}
	f.endRead()
	return away, another
}

// take takes over the records of a page, and reports whether consumers are to hear
// of them. The caller holds mu.
func (f *Follower) take(page *revocations.Page) (news bool) {
	before := f.position.Seq
	if page.Position.Log != f.position.Log || page.Position.Seq < before {
		// Another incarnation, or one that went back, which no log does.
		old := f.index
		f.index, before, news = newIndex(), 0, true
		defer func() { f.index.keep(old) }()
	}
	for i := range page.Records {
		if page.Records[i].Seq > before {
			news = f.index.add(&page.Records[i]) || news
		}
	}
	return news
}

// share lets what changed be seen without the lock. The caller holds mu.
func (f *Follower) share() {
	f.latest.Store(f.index.latest)
	f.keys.Store(len(f.index.keys) > 0)
}

// endRead wakes those who wait for a read. The caller holds mu.
func (f *Follower) endRead() {
	close(f.read)
	f.read = make(chan struct{})
}

// updateKeys asks which keys the manifest revokes, and reports a change. The caller
// holds mu.
func (f *Follower) updateKeys() bool {
	keys := f.config.RevokedKeys()
	if slices.Equal(keys, f.manifest) {
		return false
	}
	f.manifest = keys
	return true
}

// publish makes an edition of what is known. The caller holds mu.
func (f *Follower) publish(news bool) {
	keys := slices.Collect(maps.Keys(f.index.keys))
	keys = append(keys, f.manifest...)
	slices.Sort(keys)
	e := &edition{
		issuer: f.config.Issuer, enabled: f.config.Log != nil, maxAge: int64(f.config.MaxAge / time.Second),
		position: f.position, entries: slices.Clip(f.index.entries), keys: slices.Compact(keys),
	}
	if e.news = e.position.Seq; !news && f.edition != nil {
		e.news = f.edition.news
	}
	f.edition = e
	if news {
		f.wake()
	}
}

// Away reports whether the log has been away for so long that nobody should wait for
// news here.
func (f *Follower) Away() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.away()
}

// away is Away for a caller that holds mu.
func (f *Follower) away() bool { return !f.failing.IsZero() && time.Since(f.failing) >= awayAfter }

// wake ends the waiting of consumers. The caller holds mu.
func (f *Follower) wake() {
	close(f.news)
	f.news = make(chan struct{})
}

// ask makes Run read the log at once.
func (f *Follower) ask() {
	select {
	case f.asked <- struct{}{}:
	default: // it was asked already
	}
}

// await has the log read, and waits until done reports true of what is known or
// catchUp is over. Done is called with mu held; its last result is returned.
func (f *Follower) await(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	f.ask()
	for {
		f.mu.RLock()
		over, read := done(), f.read
		f.mu.RUnlock()
		if over {
			return true
		}
		select {
		case <-read:
		case <-ctx.Done():
			return false
		}
	}
}

// difference returns by how much a clock was ahead of ours when it was read, which
// was between two of our times: at least so much.
func difference(clock, from, to time.Time) time.Duration {
	switch {
	case clock.Before(from):
		return clock.Sub(from)
	case clock.After(to):
		return clock.Sub(to)
	default:
		return 0
	}
}

// age returns how old what is known is, by the clock that advanced more: the
// monotonic one may stop while a machine is suspended.
func age(began, now time.Time) time.Duration {
	return max(now.Sub(began), now.Round(0).Sub(began.Round(0)))
}

func manifestVersion(text string) int64 {
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0 // no version that could be refused
	}
	return version
}
