package verify

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/internal/revocations"
)

// A tokenCache remembers tokens that were verified, as many as it has places
// for. It belongs to one verifier and holds successes only, so that bad tokens
// push nothing out. A nil cache remembers nothing.
//
// When it is full, a new token takes the place of one that has expired, or
// else of the one that SIEVE chooses ("SIEVE is Simpler than LRU", NSDI 2024):
// a hand walks from the oldest token to the newest, spares those that were
// used since it last came by, and takes the first that was not. A hit only
// sets a bit, so readers take no lock and do not write to shared memory twice.
type tokenCache struct {
	entries sync.Map // of *entry, by token: the whole of it, byte by byte

	mu     sync.Mutex
	places int // free ones; negative while room is made
	oldest *entry
	newest *entry
	hand   *entry // nil: the next walk begins at the oldest
	// soonest is no later than the first deadline of an entry.
	soonest time.Time
}

// An entry is a token that was verified. Only its links change.
type entry struct {
	token  string
	claims claims // the lists of its session are not for callers
	key    *jwk.Key
	// subject is what can end the session, if a feed is followed.
	subject revocations.Subject
	// deadline is the end of the leeway after the session's expiry.
	deadline time.Time

	used         atomic.Bool
	older, newer *entry
}

// newTokenCache returns a cache for size tokens, nil when that is not positive.
func newTokenCache(size int) *tokenCache {
	if size <= 0 {
		return nil
	}
	return &tokenCache{places: size}
}

// get returns what is remembered of a token, or nil.
func (c *tokenCache) get(token string) *entry {
	if c == nil {
		return nil
	}
	found, ok := c.entries.Load(token)
	if !ok {
		return nil
	}
	e := found.(*entry) //nolint:forcetypeassert // nothing else is stored
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// add remembers e, unless its token was added in the meantime.
func (c *tokenCache) add(e *entry) {
	if c == nil {
		return
	}
	// A copy: the token may be a part of a larger string.
	e.token = strings.Clone(e.token)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries.LoadOrStore(e.token, e); known {
		return
	}
	if c.places--; c.places < 0 {
		c.makeRoom()
	}
	if c.newest == nil || e.deadline.Before(c.soonest) {
		c.soonest = e.deadline
	}
	e.older = c.newest
	if c.newest == nil {
		c.oldest = e
	} else {
		c.newest.newer = e
	}
	c.newest = e
}

// remove forgets e.
func (c *tokenCache) remove(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(e)
}

// makeRoom drops what has expired, or else one entry. Expiry is in whole
// seconds, so it looks at all entries once a second at most.
func (c *tokenCache) makeRoom() {
	if now := time.Now(); !now.Before(c.soonest) {
		c.dropExpired(now)
	}
	if c.places >= 0 {
		return
	}
	e := c.hand
	for e == nil || e.used.Swap(false) {
		if e == nil {
			e = c.oldest
		} else {
			e = e.newer
		}
	}
	c.hand = e.newer
	c.drop(e)
}

func (c *tokenCache) dropExpired(now time.Time) {
	var soonest time.Time
	for e := c.oldest; e != nil; e = e.newer {
		switch {
		case !now.Before(e.deadline):
			c.drop(e)
		case soonest.IsZero() || e.deadline.Before(soonest):
			soonest = e.deadline
		}
	}
	c.soonest = soonest
}

// drop takes e out, if it is still in. The caller holds mu. The links of e stay,
// for a walk that is at it.
func (c *tokenCache) drop(e *entry) {
	if !c.entries.CompareAndDelete(e.token, e) {
		return
	}
	c.places++
	if c.hand == e {
		c.hand = e.newer
	}
	if e.older == nil {
		c.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		c.newest = e.older
	} else {
		e.newer.older = e.older
	}
}
