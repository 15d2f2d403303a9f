package feed

import (
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// An entry is a record as it is kept in memory, in 72 bytes: a hash in place of
// what it names.
type entry struct {
	id           wire.RevocationID
	organization uuid.UUID
	seq          int64
	issuedBefore int64 // seconds since 1970, 0 for a single session
	dropAt       int64
	scope        wire.RevocationScope // a constant: no text of its own
}

// A mark is all that the entries of one ID end together: any match ends a
// session, and whatever an entry with an earlier time ends, one with a later time
// ends too.
type mark struct {
	issuedBefore int64 // a session is dead if it was issued earlier
	dropAt       int64
	// kept is set if not all of it is in the log that is there now: see index.keep.
	kept bool
}

// always is later than any session is issued.
const always = math.MaxInt64

// An index is the entries in force. Its slice of entries is only ever appended to
// or replaced, so that part of it may be read without a lock.
type index struct {
	entries []entry // in the order of the log
	marks   map[wire.RevocationID]mark
	counts  map[uuid.UUID]int // entries of each organization
	// keys are the signing keys that have been revoked, with when to forget that.
	keys     map[string]int64
	manifest int64 // the highest version of a manifest
	nextDrop int64 // when an entry is dropped next
	repeated int   // entries since the last drop whose ID had one
	latest   int64 // the latest issuedBefore of an entry that is not a session's
}

func newIndex() *index {
	return &index{
		marks: map[wire.RevocationID]mark{}, counts: map[uuid.UUID]int{},
		keys: map[string]int64{}, nextDrop: always,
	}
}

// add adds a record, and reports whether consumers are to hear of it.
func (x *index) add(r *revocations.Record) (news bool) {
	switch r.Scope {
	case revocations.Manifest:
		x.manifest = max(x.manifest, manifestVersion(r.ID))
		return false
	case revocations.SigningKey:
		x.keys[r.ID] = max(x.keys[r.ID], r.DropAt.Unix())
		return true
	case revocations.Session, revocations.Customer, revocations.Member, revocations.APIKey, revocations.Organization:
		x.insert(newEntry(r))
		return true
	default:
		return false // of a newer version, which other replicas know
	}
}

func newEntry(r *revocations.Record) entry {
	scope := wire.RevocationScope(r.Scope)
	e := entry{
		id: wire.NewRevocationID(scope, r.OrganizationID.String(), r.ID), organization: r.OrganizationID,
		seq: r.Seq, dropAt: r.DropAt.Unix(), scope: scope,
	}
	if r.Scope.UntilNow() {
		e.issuedBefore = r.IssuedBefore.Unix()
	}
	return e
}

func (x *index) insert(e entry) {
	x.entries = append(x.entries, e)
	x.counts[e.organization]++
	x.nextDrop = min(x.nextDrop, e.dropAt)
	if _, known := x.marks[e.id]; known {
		x.repeated++
	}
	x.note(&e)
}

// note lets an entry count, also one that was not read from the log yet.
func (x *index) note(e *entry) {
	before := e.issuedBefore
	if e.scope == wire.RevokeSession {
		before = always
	} else {
		x.latest = max(x.latest, before)
	}
	m := x.marks[e.id]
	x.marks[e.id] = mark{
		issuedBefore: max(m.issuedBefore, before), dropAt: max(m.dropAt, e.dropAt),
		kept: m.kept && (before < m.issuedBefore || e.dropAt < m.dropAt),
	}
}

// covers reports whether all that e ends is ended without it.
func (x *index) covers(e *entry) bool {
	m, ok := x.marks[e.id]
	return ok && m.dropAt >= e.dropAt && (m.issuedBefore >= e.issuedBefore && e.scope != wire.RevokeSession || m.issuedBefore == always)
}

// keep takes over from an index of another incarnation of the log what this one
// lacks. A log that lost an entry must not revive what the entry ended: that was
// acknowledged, and this replica knows it. It cannot do harm either, because no
// entry ends more for being in two logs. What is kept comes first in the order,
// before everything that is in the log, so it is in complete answers only.
func (x *index) keep(old *index) {
	var kept []entry
	for _, e := range old.entries {
		if !x.covers(&e) {
			e.seq = 0
			kept = append(kept, e)
			x.counts[e.organization]++
			x.nextDrop = min(x.nextDrop, e.dropAt)
		}
	}
	x.entries = append(kept, x.entries...)
	for id, m := range old.marks {
		n := x.marks[id]
		x.marks[id] = mark{
			issuedBefore: max(m.issuedBefore, n.issuedBefore), dropAt: max(m.dropAt, n.dropAt),
			kept: n.issuedBefore < m.issuedBefore || n.dropAt < m.dropAt,
		}
	}
	for id, dropAt := range old.keys {
		x.keys[id] = max(x.keys[id], dropAt)
	}
	x.manifest = max(x.manifest, old.manifest)
	x.latest = max(x.latest, old.latest)
}

// drop forgets what may be forgotten: what is over, and what a later entry of the
// same ID ends too, so that an organization that ends the same thing again and
// again takes one place. It reports whether there was any.
func (x *index) drop(now time.Time) bool {
	if now.Unix() < x.nextDrop && x.repeated == 0 {
		return false
	}
	later := make(map[wire.RevocationID]entry, len(x.marks))
	live := make([]entry, 0, len(x.entries))
	clear(x.counts)
	x.nextDrop, x.repeated = always, 0
	for _, e := range slices.Backward(x.entries) {
		l, found := later[e.id]
		if e.dropAt <= now.Unix() || found && l.issuedBefore >= e.issuedBefore && l.dropAt >= e.dropAt {
			continue
		}
		later[e.id] = e
		live = append(live, e)
		x.counts[e.organization]++
		x.nextDrop = min(x.nextDrop, e.dropAt)
	}
	slices.Reverse(live)
	x.entries = live
	for id, m := range x.marks {
		if m.dropAt <= now.Unix() {
			delete(x.marks, id)
		}
	}
	for id, dropAt := range x.keys {
		if dropAt <= now.Unix() {
			delete(x.keys, id)
		}
	}
	return true
}

// seqAfter returns the entries after a number, and the number of the last one before
// them, 0 if there is none.
func seqAfter(entries []entry, seq int64) (rest []entry, last int64) {
	at, _ := slices.BinarySearchFunc(entries, seq+1, func(e entry, seq int64) int {
		if e.seq < seq {
			return -1
		}
		return 1
	})
	if at > 0 {
		last = entries[at-1].seq
	}
	return entries[at:], last
}
