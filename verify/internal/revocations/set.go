package revocations

import (
	"maps"
	"math"

	"github.com/customersession/customersession/verify/wire"
)

// A set holds what has been ended, by the ID that the feed has for it. A scope is
// a part of its IDs, so one map serves all. A set is a value, and its shards do
// not change once they are shared: adding one of 100,000 entries copies 256
// pointers and the 400 entries of its shard.
type set [256]*shard

type shard struct {
	ends map[wire.RevocationID]end
	// soonest is the first dropAt of all.
	soonest int64
}

// An end says which sessions of an ID are dead: those issued before a time. Times
// are in seconds since 1970.
type end struct{ issuedBefore, dropAt int64 }

// always is the issuedBefore of an ID that stands for one session.
const always = math.MaxInt64

// ends reports whether a session of that ID is dead.
func (s *set) ends(id *wire.RevocationID, issuedAt int64) bool {
	shard := s[id[0]]
	if shard == nil {
		return false
	}
	e, found := shard.ends[*id]
	return found && issuedAt < e.issuedBefore
}

// len returns the number of entries.
func (s *set) len() (n int) {
	for _, shard := range s {
		if shard != nil {
			n += len(shard.ends)
		}
	}
	return n
}

// all calls yield with every entry.
func (s *set) all(yield func(wire.RevocationID, end) bool) {
	for _, shard := range s {
		if shard == nil {
			continue
		}
		for id, e := range shard.ends {
			if !yield(id, e) {
				return
			}
		}
	}
}

// A change is a set on its way to become another. Only shards that it has copied
// are changed.
type change struct {
	set    *set
	copied [256]bool
	// added is set when a session is dead now that was not before.
	added bool
}

// add adds an entry. Two for the same ID become one that ends what either ends,
// for as long as either: adding never revives a session.
func (c *change) add(id wire.RevocationID, e end) {
	shard := c.shard(id[0])
	known, found := shard.ends[id]
	if !found || known.issuedBefore < e.issuedBefore {
		c.added = true
	}
	if found {
		e = end{max(known.issuedBefore, e.issuedBefore), max(known.dropAt, e.dropAt)}
	}
	shard.ends[id] = e
	shard.soonest = min(shard.soonest, e.dropAt)
}

// shard returns a copy of a shard that may be changed.
func (c *change) shard(i byte) *shard {
	old := c.set[i]
	if c.copied[i] {
		return old
	}
	next := &shard{ends: map[wire.RevocationID]end{}, soonest: math.MaxInt64}
	if old != nil {
		next.ends, next.soonest = maps.Clone(old.ends), old.soonest
	}
	c.set[i], c.copied[i] = next, true
	return next
}

// forget drops the entries whose time has come.
func (c *change) forget(now int64) {
	for i := range c.set {
		if c.set[i] == nil || now < c.set[i].soonest {
			continue
		}
		shard := c.shard(byte(i))
		shard.soonest = math.MaxInt64
		for id, e := range shard.ends {
			if now >= e.dropAt {
				delete(shard.ends, id)
				continue
			}
			shard.soonest = min(shard.soonest, e.dropAt)
		}
		if len(shard.ends) == 0 {
			c.set[i], c.copied[i] = nil, false
		}
	}
}
