package verify

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A digest names a token in the cache: SHA-256 of all of it, signature
// included. Anything less, and a token with another signature could pass for
// one that was verified.
type digest [sha256.Size]byte

// ways is how many places a token may be kept in.
const ways = 4

// A tokenCache remembers tokens that were verified. It belongs to one verifier
// and holds successes only, so that garbage cannot push anything out.
//
// It is a table of fixed size: a digest's first bytes choose a row, and the
// token is in one of the row's places or not at all. Every place is an atomic
// pointer, so readers take no lock and never wait for a writer.
type tokenCache struct {
	rows [][ways]atomic.Pointer[verified]
	// next chooses the place to overwrite in a full row.
	next atomic.Uint32
}

// A verified is what is remembered of a token. It is immutable.
type verified struct {
	digest  digest
	key     *jwk.Key
	session Session
	// until is when the token stops to be valid, leeway included.
	until time.Time
	// lists is room for what most sessions have: one audience, one scope.
	lists [2]string
}

// newTokenCache returns a cache for at most size tokens, or nil for none.
func newTokenCache(size int) *tokenCache {
	if size <= 0 {
		return nil
	}
	return &tokenCache{rows: make([][ways]atomic.Pointer[verified], (size+ways-1)/ways)}
}

func (c *tokenCache) row(d *digest) *[ways]atomic.Pointer[verified] {
	// Four bytes of SHA-256 are as evenly spread as any hash.
	n := uint64(d[0]) | uint64(d[1])<<8 | uint64(d[2])<<16 | uint64(d[3])<<24
	return &c.rows[n*uint64(len(c.rows))>>32]
}

// get returns what is remembered of a token, or nil.
func (c *tokenCache) get(d *digest) *verified {
	row := c.row(d)
	for i := range row {
		if v := row[i].Load(); v != nil && v.digest == *d {
			return v
		}
	}
	return nil
}

// put remembers a token, in place of an older version of it, of nothing, of
// one that has expired, or else of any.
func (c *tokenCache) put(v *verified, now time.Time) {
	row := c.row(&v.digest)
	victim := int(c.next.Add(1) % ways)
	for i := range row {
		old := row[i].Load()
		if old != nil && old.digest == v.digest {
			victim = i
			break
		}
		if old == nil || !now.Before(old.until) {
			victim = i
		}
	}
	row[victim].Store(v)
}

// drop forgets a token.
func (c *tokenCache) drop(v *verified) {
	row := c.row(&v.digest)
	for i := range row {
		row[i].CompareAndSwap(v, nil)
	}
}

// flights lets callers that come with the same new token at the same time
// share one signature check: a page that fires twenty calls is common.
//
// Each slot knows one token that is being checked. Callers with another token
// do not wait: they check by themselves, and so does everybody when the slot
// is taken. That way nobody can make others wait by sending garbage.
type flights struct {
	slots [64]slot
}

type slot struct {
	mu     sync.Mutex
	busy   bool
	digest digest
	// shared is made by the first caller that waits; alone, a token costs no
	// allocation.
	shared *sharedCheck
}

// A sharedCheck is the outcome that callers wait for.
type sharedCheck struct {
	done    chan struct{}
	outcome *verified
	err     error
}

// join enters a check. The caller leads, and must call leave, when both results
// are nil; it waits for flight when that is not nil; and with alone it checks by
// itself.
func (f *flights) join(d *digest) (leads *slot, wait *sharedCheck) {
	s := &f.slots[d[4]%byte(len(f.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.busy:
		s.busy, s.digest = true, *d
		return s, nil
	case s.digest == *d:
		if s.shared == nil {
			s.shared = &sharedCheck{done: make(chan struct{})}
		}
		return nil, s.shared
	default:
		return nil, nil
	}
}

// leave ends a check that the caller led, and tells those who wait.
func (s *slot) leave(outcome *verified, err error) {
	s.mu.Lock()
	shared := s.shared
	s.busy, s.shared = false, nil
	s.mu.Unlock()
	if shared != nil {
		shared.outcome, shared.err = outcome, err
		close(shared.done)
	}
}

// result waits for the leader, or for ctx.
func (f *sharedCheck) result(ctx context.Context) (*verified, error) {
	select {
	case <-f.done:
		return f.outcome, f.err
	case <-ctx.Done():
		return nil, &failure{ErrKeysUnavailable, context.Cause(ctx), "gave up waiting"}
	}
}
