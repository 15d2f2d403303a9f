package verify

import (
	"context"
	"hash/maphash"
	"math"
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
	seed  maphash.Seed
	rows  []row
	slabs slabs
}

// A row has tags of its places beside them, the lower halves of hashes: a look
// at it that finds nothing then touches one cache line and nothing else. While
// two writers are at one place, a tag may be that of another token than the one
// that is kept; then that one is not found, and nothing else happens.
type row struct {
	tags   [ways]atomic.Uint32
	places [ways]atomic.Pointer[verified]
	// turns counts the places that were filled; they take turns.
	turns atomic.Uint32
	_     [12]byte // to a cache line
}

// A verified is what is remembered of a token. It is immutable, and small: a
// cache is full of them. What is the same in all of them, the verifier has.
type verified struct {
	// token is empty unless it is remembered.
	token []byte
	key   *jwk.Key
	// text is all that is this token's own: three UUIDs and the return URL.
	text string
	// Seconds of Unix time.
	issuedAt, expiresAt int64
	lists               *lists
}

func (v *verified) sessionID() string      { return v.text[:uuidLength] }
func (v *verified) customerID() string     { return v.text[uuidLength : 2*uuidLength] }
func (v *verified) organizationID() string { return v.text[2*uuidLength : 3*uuidLength] }
func (v *verified) returnURL() string      { return v.text[3*uuidLength:] }

// lists are those of a token. Tokens share them, so they are not for callers.
type lists struct {
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

// row also returns the tag.
func (c *tokenCache) row(m *mark) (r *row, tag uint32) {
	return &c.rows[m.hash>>32*uint64(len(c.rows))>>32], uint32(m.hash & math.MaxUint32)
}

// get returns what is remembered of a token, or nil.
func (c *tokenCache) get(m *mark) *verified {
	row, tag := c.row(m)
	for i := range row.tags {
		if row.tags[i].Load() != tag {
			continue
		}
		if v := row.places[i].Load(); v != nil && string(v.token) == m.token {
			return v
		}
	}
	return nil
}

// put remembers a token, in place of an older version of it, or else of the one
// that has been in the row for the longest time. Those that have expired get no
// other treatment: to look for them would take longer than to verify one again
// once in a while. It returns what is remembered: a copy of v.
func (c *tokenCache) put(m *mark, v *verified) *verified {
	kept := c.slabs.keep(v, m.token)
	row, tag := c.row(m)
	place := -1
	for i := range row.tags {
		if row.tags[i].Load() == tag {
			place = i
			break
		}
	}
	if place < 0 {
		place = int((row.turns.Add(1) - 1) % ways)
	}
	row.places[place].Store(kept)
	row.tags[place].Store(tag)
	return kept
}

// drop forgets a token.
func (c *tokenCache) drop(m *mark, v *verified) {
	row, _ := c.row(m)
	for i := range row.places {
		row.places[i].CompareAndSwap(v, nil)
	}
}

// slabs are the memory of a cache: one allocation for thirty tokens or so. With
// one for each, the garbage collector would be most of what the cache costs.
//
// A slab lives as long as one of its tokens is in the cache. As the places of a
// row take turns, tokens leave about in the order in which they came, and all
// slabs together are about twice what is in use. What callers get lies outside:
// a session that somebody keeps must not keep a slab.
type slabs struct {
	current atomic.Pointer[slab]
	// renewing keeps all but one from making the next slab.
	renewing sync.Mutex
}

// A slab is filled by any number of goroutines at once: each takes the next
// entry and the next piece of text, and has them for itself.
type slab struct {
	// Both go on to count when all is taken.
	entriesTaken, textTaken atomic.Int64

	entries [40]verified
	// text makes the whole as large as an allocation is: 32 KB.
	text [28 << 10]byte
}

// keep returns a copy of v with the token.
func (s *slabs) keep(v *verified, token string) *verified {
	for {
		current := s.current.Load()
		if current != nil {
			if kept := current.keep(v, token); kept != nil {
				return kept
			}
		}
		s.renew(current)
	}
}

func (s *slabs) renew(full *slab) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if s.current.Load() == full {
		s.current.Store(new(slab))
	}
}

// keep returns nil when there is no room.
func (s *slab) keep(v *verified, token string) *verified {
	entry, end := s.entriesTaken.Add(1)-1, int(s.textTaken.Add(int64(len(token))))
	if entry >= int64(len(s.entries)) || end > len(s.text) {
		return nil
	}
	kept := &s.entries[entry]
	*kept = *v
	kept.token = s.text[end-len(token) : end]
	copy(kept.token, token)
	return kept
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
