package verify

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/customersession/customersession/keys/jwk"
)

// A mark names a token: by a hash, which finds it, and by the token itself,
// because only the same bytes are the same token. The hash is of the token's
// end, which is signature, and so differs between good tokens. It is keyed with
// a secret of the cache's own, so that nobody can choose good tokens whose
// hashes are equal; but nothing depends on that but speed.
type mark struct {
	hash  uint64
	token string
}

// ways is how many places a token may be kept in.
const ways = 4

// A tokenCache remembers tokens that were verified. It belongs to one verifier
// and holds successes only, so that garbage cannot push anything out.
//
// It is a table of fixed size: a token's hash chooses a row, and the token is
// in one of the row's places or not at all. Every place is an atomic pointer,
// so readers take no lock and never wait for a writer.
type tokenCache struct {
	seed maphash.Seed
	rows []row
}

// A row has the hashes of its places beside them: a look at it that finds
// nothing then touches one cache line and nothing else. While two writers are
// at one place, a hash may be that of another token than the one that is kept;
// then that one is not found, and nothing else happens.
type row struct {
	hashes [ways]atomic.Uint64
	places [ways]atomic.Pointer[verified]
}

// A verified is what is remembered of a token. It is immutable, and small: a
// cache is full of them. What is the same in all of them, the verifier has.
type verified struct {
	mark mark
	key  *jwk.Key

	sessionID, customerID     string
	organizationID, returnURL string
	// Seconds of Unix time.
	issuedAt, expiresAt int64
	// Lists may be shared, so they are not for callers.
	audience, scopes []string
}

// newTokenCache returns a cache for at most size tokens, or nil for none.
func newTokenCache(size int) *tokenCache {
	if size <= 0 {
		return nil
	}
	return &tokenCache{seed: maphash.MakeSeed(), rows: make([]row, (size+ways-1)/ways)}
}

func (c *tokenCache) mark(token string) mark {
	const enough = 64 // characters: 48 bytes of signature
	return mark{maphash.String(c.seed, token[max(0, len(token)-enough):]), token}
}

func (c *tokenCache) row(m *mark) *row {
	return &c.rows[m.hash>>32*uint64(len(c.rows))>>32]
}

// get returns what is remembered of a token, or nil.
func (c *tokenCache) get(m *mark) *verified {
	row := c.row(m)
	for i := range row.hashes {
		if row.hashes[i].Load() != m.hash {
			continue
		}
		if v := row.places[i].Load(); v != nil && v.mark == *m {
			return v
		}
	}
	return nil
}

// put remembers a token, in place of an older version of it, of nothing, or
// else of any. Those that have expired go like any other: to look for them
// would take longer than to verify one again once in a while.
func (c *tokenCache) put(v *verified) {
	row := c.row(&v.mark)
	victim := int(v.mark.hash % ways)
	for i := range row.hashes {
		if row.hashes[i].Load() == v.mark.hash {
			victim = i
			break
		}
		if row.places[i].Load() == nil {
			victim = i
		}
	}
	row.places[victim].Store(v)
	row.hashes[victim].Store(v.mark.hash)
}

// drop forgets a token.
func (c *tokenCache) drop(v *verified) {
	row := c.row(&v.mark)
	for i := range row.places {
		row.places[i].CompareAndSwap(v, nil)
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
	mu   sync.Mutex
	busy bool
	mark mark
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

// join enters a check. When leads is not nil the caller leads, and must call
// leave on it; when wait is not nil it waits for that; when both are nil it
// checks by itself.
func (f *flights) join(m *mark) (leads *slot, wait *sharedCheck) {
	s := &f.slots[m.hash%uint64(len(f.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.busy:
		s.busy, s.mark = true, *m
		return s, nil
	case s.mark == *m:
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
	s.busy, s.shared, s.mark = false, nil, mark{}
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
