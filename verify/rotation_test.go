package verify_test

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// How the issuer of [TestRotation] changes its keys, and what its answers
// promise.
const (
	maxAge   = 10 * time.Minute
	period   = 100 * time.Minute
	lifetime = time.Hour
	skew     = 30 * time.Second
	// cacheAge is the worst age of an honest copy: max-age, also through a
	// cache in between, and the minute that every answer is kept at least.
	// No removed key may be accepted for longer while the issuer answers.
	cacheAge = maxAge + time.Minute
)

// A rotation is an issuer that replaces its key again and again, by the rules
// of package keys.
type rotation struct {
	start   time.Time
	signers []*signer
}

func (r *rotation) publishAt(i int) time.Time {
	return r.start.Add(time.Duration(i-1) * period)
}

func (r *rotation) activateAt(i int) time.Time {
	return r.publishAt(i).Add(cacheAge + skew)
}

func (r *rotation) removeAt(i int) time.Time {
	return r.activateAt(i + 1).Add(lifetime + 2*skew)
}

// current is the key that signs: the newest that may.
func (r *rotation) current(now time.Time) *signer {
	for i := len(r.signers) - 1; i > 0; i-- {
		if !now.Before(r.activateAt(i)) {
			return r.signers[i]
		}
	}
	return r.signers[0]
}

func (r *rotation) published(now time.Time) (signers []*signer, version string) {
	tag := []byte{'"'}
	for i, s := range r.signers {
		if (i == 0 || !now.Before(r.publishAt(i))) && (i == len(r.signers)-1 || now.Before(r.removeAt(i))) {
			signers = append(signers, s)
			tag = strconv.AppendInt(tag, int64(i), 10)
		}
	}
	return signers, string(tag) + `"`
}

// answer is the issuer itself.
func (r *rotation) answer(t *testing.T) answer {
	t.Helper()
	return func(request *http.Request) (*http.Response, error) {
		signers, tag := r.published(time.Now())
		headers := []string{"ETag", tag, "Cache-Control", "max-age=600"}
		if request.Header.Get("If-None-Match") == tag {
			return reply(304, "", headers...)(request)
		}
		return reply(200, publish(t, signers...), headers...)(request)
	}
}

// cached is a cache in between that makes the most of max-age.
func (r *rotation) cached(t *testing.T) answer {
	t.Helper()
	var mu sync.Mutex
	var body string
	var at time.Time
	return func(request *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); body == "" || now.Sub(at) >= maxAge {
			signers, _ := r.published(now)
			body, at = publish(t, signers...), now
		}
		age := strconv.Itoa(int(time.Since(at).Seconds()))
		return reply(200, body, "Cache-Control", "max-age=600", "Age", age)(request)
	}
}

// Publish, activate, retire and remove as 50 verifiers see it that started at
// different times, see more or less traffic, and reach the issuer directly or
// through a cache: no token is refused before it expires, and no removed key
// is accepted past cacheAge.
func TestRotation(t *testing.T) {
	t.Parallel()
	signers := make([]*signer, 4)
	for i := range signers {
		signers[i] = newSigner(t, jwk.EdDSA)
	}
	synctest.Test(t, func(t *testing.T) {
		r := &rotation{start: time.Now(), signers: signers}
		direct, cached := &publisher{}, &publisher{}
		direct.set(r.answer(t))
		cached.set(r.cached(t))
		var verifiers []*verify.Verifier
		for i := range 50 {
			p := direct
			if i%2 == 1 {
				p = cached
			}
			verifiers = append(verifiers, newFetching(t, p, verify.Config{}))
		}
		type issued struct {
			token   string
			expires time.Time
		}
		var tokens []issued
		refused := 0
		for step := 0; time.Now().Before(r.removeAt(2).Add(cacheAge + 10*time.Minute)); step++ {
			now := time.Now()
			s := r.current(now)
			tokens = append(tokens, issued{s.token(t, s.header(), payload()), now.Add(lifetime)})
			for !now.Before(tokens[0].expires) {
				tokens = tokens[1:]
			}
			stolen := r.removedFor(t, now, cacheAge)
			for i, v := range verifiers {
				if step < i/2 || step%(i%5+1) != 0 {
					continue // not started, or without a request right now
				}
				for _, good := range []issued{tokens[0], tokens[len(tokens)-1]} {
					if _, err := v.Verify(t.Context(), good.token); err != nil {
						t.Errorf("verifier %d after %v: %v", i, now.Sub(r.start), err)
					}
				}
				for _, token := range stolen {
					refused++
					if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrUnknownKey) {
						t.Errorf("verifier %d after %v: a removed key got %v", i, now.Sub(r.start), err)
					}
				}
			}
			time.Sleep(2*time.Minute + time.Second)
		}
		if refused < 1000 {
			t.Errorf("only %d tokens of removed keys were tried", refused)
		}
	})
}

// removedFor returns new tokens by keys that were removed before bound.
func (r *rotation) removedFor(t *testing.T, now time.Time, bound time.Duration) (tokens []string) {
	t.Helper()
	for i, s := range r.signers[:len(r.signers)-1] {
		if !now.Before(r.removeAt(i).Add(bound)) {
			tokens = append(tokens, s.token(t, s.header(), payload()))
		}
	}
	return tokens
}

// Whatever happens to the issuer after it removed a key, the key is accepted
// no longer than its last freshness and MaxStale.
func TestRemovedKeyInAnOutage(t *testing.T) {
	t.Parallel()
	removed, current := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, removed, current), "Cache-Control", "max-age=600"))
	config := verify.Config{MaxStale: 20 * time.Minute}
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, config)
		check(t, v, removed, nil)
		p.set(refuse) // it removes the key, and then nobody reaches it
		time.Sleep(30*time.Minute - 1)
		check(t, v, removed, nil)
		time.Sleep(time.Nanosecond)
		check(t, v, removed, verify.ErrKeysUnavailable)
	})
}
