package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// Limits of what is in force. Consumers keep all of it in memory, and no
// organization may take that from the others.
const (
	maxSessions = 10_000  // of an organization, until single sessions are refused
	maxEntries  = 11_000  // of an organization, until it can only end all
	maxInAll    = 100_000 // until organizations can only end all
)

const (
	appendsAtOnce = 8
	appendTimeout = 5 * time.Second
	// margin is by how much a new entry's time exceeds the log's clock: see
	// [revocations.IssuedBefore].
	margin = 2 * time.Second
	// farAhead is by how much the log's clock may be ahead of ours. Until our
	// clock gets there, nobody whose sessions were ended can have new ones.
	farAhead = time.Minute
	// farBehind is by how much it may be behind. Entries are dropped that much too
	// early, for which [revocations.Retention] allows.
	farBehind = 5 * time.Minute
)

// Why nothing was ended.
var (
	// ErrOff means that there is no log.
	ErrOff = errors.New("sessions cannot be ended here: there is no revocation log")
	// ErrTooMany means that the organization has ended too much that is still in
	// force. Wider scopes may be possible.
	ErrTooMany = errors.New("too many revocations are in force")
	// ErrUnknown means that the log did not answer as it should, so that the entry
	// may be in it or not. Repeating is safe.
	ErrUnknown = errors.New("the outcome of the revocation is unknown")
	// ErrClock means that the clocks of the log and of this replica are so far
	// apart that an entry would not end what was asked for, or much more.
	ErrClock = errors.New("the clocks of the revocation log and of this server are too far apart")
)

// Ended is what became of an entry.
type Ended struct {
	// IssuedBefore is the time before which sessions were issued that are ended;
	// zero for a single session.
	IssuedBefore time.Time
	// Repeated reports that all that the entry would end was dead already, so that
	// it was not written.
	Repeated bool
}

// End makes an entry in the log. Once it returns, this replica's answers have the
// entry, unless the log has gone away since; the others' have it when they read
// the log. The error wraps ErrOff, ErrTooMany, ErrUnknown or ErrClock.
func (f *Follower) End(ctx context.Context, e revocations.Entry) (Ended, error) {
	if f.config.Log == nil {
		return Ended{}, ErrOff
	}
	called := time.Now()
	if ahead := f.clockAhead(); ahead < -farBehind || e.Scope.UntilNow() && ahead > farAhead {
		return Ended{}, ErrClock
	}
	scope := wire.RevocationScope(e.Scope)
	id := wire.NewRevocationID(scope, e.OrganizationID.String(), e.ID)
	if _, dead := f.dead(e.Scope, id); dead {
		// The log may have lost it since it was read.
		asked := time.Now()
		confirmed := f.await(ctx, func() bool { return f.began.After(asked) })
		if before, dead := f.dead(e.Scope, id); dead && confirmed {
			return Ended{IssuedBefore: before, Repeated: true}, nil
		}
	}
	if !f.hasRoom(e.Scope, e.OrganizationID) {
		return Ended{}, ErrTooMany
	}
	record, err := f.append(ctx, e)
	if err == nil && e.Scope.UntilNow() && !record.IssuedBefore.After(called) {
		// It leaves what was just issued: our clock is the one in sessions.
		err = ErrClock
	}
	return Ended{IssuedBefore: record.IssuedBefore}, err
}

func (f *Follower) clockAhead() time.Duration {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.ahead
}

// Remember makes an entry about the issuer itself. The error wraps ErrUnknown.
func (f *Follower) Remember(ctx context.Context, scope revocations.Scope, id string) error {
	_, err := f.append(ctx, revocations.Entry{Scope: scope, ID: id})
	return err
}

// append appends an entry, and waits until it has been read back.
func (f *Follower) append(ctx context.Context, e revocations.Entry) (revocations.Record, error) {
	limited, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	leave, err := f.slots.enter(limited, e.OrganizationID)
	if err != nil {
		return revocations.Record{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	appending := begin(func() (revocations.Record, error) {
		defer leave()
		return f.config.Log.Append(limited, e)
	})
	r, _ := inTime(limited, appending)
	if r.err != nil {
		return revocations.Record{}, fmt.Errorf("%w: %w", ErrUnknown, r.err)
	}
	record := r.value
	appended := time.Now()
	f.note(&record)
	f.await(ctx, func() bool { return f.began.After(appended) })
	return record, nil
}

// note lets a record count here at once, whatever becomes of the log.
func (f *Follower) note(r *revocations.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Scope {
	case revocations.SigningKey, revocations.Manifest:
		f.index.add(r)
	default:
		e := newEntry(r)
		f.index.note(&e)
	}
	f.share()
}

// dead reports whether all that an entry would end is dead already, and the time of
// the entry that ended it: the time of a new one would be no later.
func (f *Follower) dead(scope revocations.Scope, id wire.RevocationID) (issuedBefore time.Time, dead bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	m, ok := f.index.marks[id]
	if !ok || m.kept {
		return time.Time{}, false
	}
	if !scope.UntilNow() {
		return time.Time{}, true
	}
	before := time.Unix(m.issuedBefore, 0)
	return before, !before.Before(time.Now().Add(max(f.ahead, 0) + margin))
}

// hasRoom reports whether an organization may make another entry.
func (f *Follower) hasRoom(scope revocations.Scope, organization uuid.UUID) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch scope {
	case revocations.Organization:
		return true // it is what ends an attack
	case revocations.Session:
		return f.index.counts[organization] < maxSessions && len(f.index.entries) < maxInAll
	default:
		return f.index.counts[organization] < maxEntries && len(f.index.entries) < maxInAll
	}
}

// A bulkhead bounds how many appends run at once, and gives an organization half
// of that at most, so that none takes a slow log from the others.
type bulkhead struct {
	slots chan struct{}

	mu    sync.Mutex
	lanes map[uuid.UUID]*lane
}

// A lane is what an organization has of a bulkhead.
type lane struct {
	slots chan struct{}
	users int
}

func newBulkhead(slots int) *bulkhead {
	return &bulkhead{slots: make(chan struct{}, slots), lanes: map[uuid.UUID]*lane{}}
}

// enter waits for a slot, half of the time that ctx leaves.
func (b *bulkhead) enter(ctx context.Context, organization uuid.UUID) (leave func(), err error) {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
	defer cancel()
	own := b.lane(organization)
	busy := errors.New("too many appends are in progress")
	select {
	case own.slots <- struct{}{}:
	case <-ctx.Done():
		b.leave(organization)
		return nil, busy
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		<-own.slots
		b.leave(organization)
		return nil, busy
	}
	return func() {
		<-b.slots
		<-own.slots
		b.leave(organization)
	}, nil
}

func (b *bulkhead) lane(organization uuid.UUID) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.lanes[organization]
	if own == nil {
		own = &lane{slots: make(chan struct{}, cap(b.slots)/2)}
		b.lanes[organization] = own
	}
	own.users++
	return own
}

func (b *bulkhead) leave(organization uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.lanes[organization]
	if own.users--; own.users == 0 {
		delete(b.lanes, organization)
	}
}
