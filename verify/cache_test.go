package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// A keyring is a key source whose keys a test takes away and gives back.
type keyring struct {
	key     atomic.Pointer[jwk.Key]
	lookups atomic.Int64
	wait    chan struct{} // if not nil, look-ups wait until it is closed
}

func (k *keyring) Key(ctx context.Context, keyID string) (*jwk.Key, error) {
	k.lookups.Add(1)
	if k.wait != nil {
		select {
		case <-k.wait:
		case <-ctx.Done():
			return nil, verify.ErrKeysUnavailable
		}
	}
	if key := k.key.Load(); key != nil && key.ID() == keyID {
		return key, nil
	}
	return nil, verify.ErrUnknownKey
}

// A tally is an observer that counts what was checked, and what was known.
type tally struct {
	mu     sync.Mutex
	counts map[verify.Verification]int
}

func (r *tally) Verified(_ context.Context, v verify.Verification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[verify.Verification]int{}
	}
	r.counts[v]++
}

func (r *tally) Refreshed(verify.Refresh) {}

func (r *tally) count(result string, cached bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[verify.Verification{Result: result, Cached: cached}]
}

func newCached(t testing.TB, change func(*verify.Config)) (*verify.Verifier, *tally) {
	t.Helper()
	seen := &tally{}
	config := verify.Config{Issuer: testIssuer, Audience: testAudience, Observer: seen}
	change(&config)
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return v, seen
}

func TestCacheRechecksTheKey(t *testing.T) {
	t.Parallel()
	s, ring := newSigner(t, jwk.ES256), &keyring{}
	ring.key.Store(s.key)
	v, seen := newCached(t, func(c *verify.Config) { c.KeySource = ring })
	token := s.token(t, s.header(), payload())
	check := func(want error) {
		t.Helper()
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	check(nil)
	check(nil)
	if seen.count("ok", true) != 1 {
		t.Errorf("the second look was not one at the cache: %v", seen.counts)
	}
	// A key set that was fetched anew holds the same key in another place.
	again, err := jwk.Parse(s.key.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	ring.key.Store(again)
	check(nil)
	if seen.count("ok", true) != 2 {
		t.Errorf("a fresh copy of the key emptied the cache: %v", seen.counts)
	}
	ring.key.Store(nil)
	check(verify.ErrUnknownKey)
	ring.key.Store(s.key)
	check(nil)
}

// Another key under the same ID must not inherit what the first one signed.
func TestCacheDoesNotTrustTheKeyID(t *testing.T) {
	t.Parallel()
	s, other, ring := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256), &keyring{}
	ring.key.Store(s.key)
	v, _ := newCached(t, func(c *verify.Config) { c.KeySource = ring })
	token := s.token(t, s.header(), payload())
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	ring.key.Store(other.key.WithID(s.key.ID()))
	for range 2 {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("got %v, want %v", err, verify.ErrSignature)
		}
	}
}

func TestCacheRechecksExpiry(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	synctest.Test(t, func(t *testing.T) {
		v, seen := newCached(t, func(c *verify.Config) { c.KeySource = s })
		token := s.token(t, s.header(), payload())
		for _, tc := range []struct {
			sleep time.Duration
			want  error
		}{
			{0, nil},
			{time.Hour + 30*time.Second - 1, nil},
			{1, verify.ErrExpired},
			{time.Hour, verify.ErrExpired},
		} {
			time.Sleep(tc.sleep)
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		}
		if seen.count("expired", true) != 1 || seen.count("expired", false) != 1 {
			t.Errorf("want one refusal out of the cache, and none after it: %v", seen.counts)
		}
	})
}

func TestCacheRechecksRevocation(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	var revoked atomic.Bool
	for _, size := range []int{-1, 0} {
		revoked.Store(false)
		v, _ := newCached(t, func(c *verify.Config) {
			c.KeySource, c.CacheSize = s, size
			c.IsRevoked = func(session verify.Session) bool { return session.ID == sessionID && revoked.Load() }
		})
		token := s.token(t, s.header(), payload())
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		revoked.Store(true)
		if got, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrRevoked) || got.ID != "" {
			t.Errorf("cache size %d: got %+v, %v, want %v", size, got, err, verify.ErrRevoked)
		}
	}
}

func TestCallersOwnWhatTheyGet(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	token := s.token(t, s.header(), payload(`"customer_portal:write"`, `"customer_portal:write more"`))
	first, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		session, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if session.Audience[0] != testAudience || strings.Join(session.Scopes, "|") != "customer_portal:write|more" {
			t.Fatalf("a caller changed it for the next one: %q, %q", session.Audience, session.Scopes)
		}
		session.Audience[0], session.Scopes[0], session.Scopes[1] = "admin", "admin", "admin"
		session.Audience, session.Scopes = append(session.Audience, "x"), append(session.Scopes, "y")
	}
	if first.Audience[0] != testAudience || first.Scopes[1] != "more" {
		t.Errorf("a later caller changed an earlier one's: %q, %q", first.Audience, first.Scopes)
	}
}

// Only successes are remembered, and never more than fit.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, 16 })
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = s.token(t, s.header(), payload(`{`, fmt.Sprintf(`{"n":%d,`, i)))
	}
	for range 2 {
		for _, token := range tokens {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hits := seen.count("ok", true); hits > 16 {
		t.Errorf("%d hits with room for 16", hits)
	}
	cut := strings.LastIndexByte(tokens[0], '.') + 1
	bad := tokens[0][:cut] + tokens[1][cut:]
	for range 3 {
		if _, err := v.Verify(t.Context(), bad); !errors.Is(err, verify.ErrSignature) {
			t.Fatalf("got %v", err)
		}
	}
	if seen.count("signature", true) != 0 || seen.count("signature", false) != 3 {
		t.Errorf("a failure was remembered: %v", seen.counts)
	}
}

// Every token stands for its own session, however long it is, and whoever else
// is putting tokens into the cache.
func TestCacheKeepsTokensApart(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, 1024 })
	const count = 256
	tokens, ids := make([]string, count), make([]string, count)
	for i := range tokens {
		ids[i] = fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
		padding := strings.Repeat("x", i*i%2400)
		tokens[i] = s.token(t, s.header(), payload(sessionID, ids[i], `{`, fmt.Sprintf(`{"pad":%q,`, padding)))
	}
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 4 * count {
				n := (i*(2*worker+1) + worker) % count // each in an order of its own
				session, err := v.Verify(t.Context(), tokens[n])
				if err != nil || session.ID != ids[n] {
					t.Errorf("token %d: got session %q, %v, want %q", n, session.ID, err, ids[n])
				}
			}
		})
	}
	workers.Wait()
	before := seen.count("ok", true)
	for _, token := range tokens {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	if hits := seen.count("ok", true) - before; hits != count {
		t.Errorf("%d of %d tokens are remembered, with room for 1024", hits, count)
	}
}

// hits verifies tokens and returns how many of them were remembered.
func hits(t testing.TB, v *verify.Verifier, seen *tally, tokens ...string) int {
	t.Helper()
	before := seen.count("ok", true)
	for _, token := range tokens {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	return seen.count("ok", true) - before
}

// many returns tokens that differ.
func many(t testing.TB, s *signer, n int, oldnew ...string) []string {
	t.Helper()
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = s.token(t, s.header(), payload(append(oldnew, `{`, fmt.Sprintf(`{"n":%d,`, i))...))
	}
	return tokens
}

// A cache of N tokens holds N tokens, none pushed out by chance.
func TestCacheHoldsWhatItSays(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	for _, size := range []int{1, 2, 100, 4096} {
		v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, size })
		tokens := many(t, s, size)
		if n := hits(t, v, seen, tokens...); n != 0 {
			t.Errorf("size %d: %d new tokens were remembered", size, n)
		}
		if n := hits(t, v, seen, tokens...); n != size {
			t.Errorf("size %d: %d tokens are remembered", size, n)
		}
	}
}

// A full cache forgets tokens that are not used before those that are.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, 64 })
	tokens := many(t, s, 64*4)
	used, others := tokens[:32], tokens[32:]
	hits(t, v, seen, used...)
	for len(others) > 0 {
		hits(t, v, seen, others[:8]...)
		others = others[8:]
		if n := hits(t, v, seen, used...); n != len(used) {
			t.Fatalf("%d of %d tokens in use are remembered", n, len(used))
		}
	}
}

// Expired tokens make room before any other does.
func TestCacheForgetsExpiredFirst(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	synctest.Test(t, func(t *testing.T) {
		v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, 64 })
		exp := func(after time.Duration) string { return fmt.Sprintf(`"exp":%d`, time.Now().Add(after).Unix()) }
		live := many(t, s, 32)
		short := many(t, s, 32, exp(time.Hour), exp(time.Minute))
		for i := range live { // side by side, so that age alone tells nothing
			hits(t, v, seen, live[i], short[i])
		}
		// The short ones were used last, and more often.
		if n := hits(t, v, seen, short...); n != len(short) {
			t.Errorf("%d of %d short tokens are remembered", n, len(short))
		}
		time.Sleep(time.Minute + 30*time.Second) // the leeway is over
		fresh := many(t, s, 32)
		hits(t, v, seen, fresh...)
		if n := hits(t, v, seen, append(live, fresh...)...); n != 64 {
			t.Errorf("%d of 64 live tokens are remembered", n)
		}
	})
}

// A page that makes many calls at once gets one answer for all of them, and the
// token is remembered once.
func TestBurst(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v, seen := newCached(t, func(c *verify.Config) { c.KeySource, c.CacheSize = s, 2 })
	tokens := many(t, s, 2)
	hits(t, v, seen, tokens[0])
	var start, done sync.WaitGroup
	start.Add(1)
	for range 200 {
		done.Go(func() {
			start.Wait()
			if session, err := v.Verify(t.Context(), tokens[1]); err != nil || session.ID != sessionID {
				t.Errorf("got %+v, %v", session, err)
			}
		})
	}
	start.Done()
	done.Wait()
	if n := hits(t, v, seen, tokens...); n != 2 {
		t.Errorf("%d of 2 tokens are remembered", n)
	}
}

// A caller that waits for the keys waits within its own context.
func TestBurstWaitsForOwnContext(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	synctest.Test(t, func(t *testing.T) {
		ring := &keyring{wait: make(chan struct{})}
		ring.key.Store(s.key)
		v, _ := newCached(t, func(c *verify.Config) { c.KeySource = ring })
		token := s.token(t, s.header(), payload())
		var patient, hasty error
		var done sync.WaitGroup
		done.Go(func() { _, patient = v.Verify(t.Context(), token) })
		done.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, hasty = v.Verify(ctx, token)
		})
		time.Sleep(time.Minute)
		close(ring.wait)
		done.Wait()
		if patient != nil || !errors.Is(hasty, verify.ErrKeysUnavailable) {
			t.Errorf("got %v and %v, want none and %v", patient, hasty, verify.ErrKeysUnavailable)
		}
	})
}
