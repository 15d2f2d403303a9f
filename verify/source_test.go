package verify_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// An answer is what a round trip comes to.
type answer func(*http.Request) (*http.Response, error)

// A publisher is an issuer's key endpoint without a network. Beside it is a feed
// in which no session has ended.
type publisher struct {
	requests atomic.Int64
	mu       sync.Mutex
	answer   answer
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == wire.RevocationsPath {
		return quietFeed(r)
	}
	p.requests.Add(1)
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	return answer(r)
}

// quietFeed is the feed of an issuer where no session ends. Its answers may be a
// day old, so that tests of keys are about keys.
func quietFeed(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	if seconds, err := strconv.Atoi(query.Get("wait")); err == nil {
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	body := `{"issuer":"` + testIssuer + `","enabled":true,"log":"quiet","seq":0,"after":0,"max_age":86400,"pause":60,` +
		`"revoked":[],"revoked_keys":[]}`
	return reply(200, body, wire.RevocationsAge, "0", wire.RevocationsNonce, query.Get("nonce"))(r)
}

func (p *publisher) set(answer answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func reply(status int, body string, headers ...string) answer {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func publish(t *testing.T, signers ...*signer) string {
	t.Helper()
	var published []*jwk.Key
	for _, s := range signers {
		published = append(published, s.key)
	}
	set, err := jwk.NewSet(published...)
	if err != nil {
		t.Fatal(err)
	}
	return string(set.AppendJSON(nil))
}

// newFetching returns a verifier whose keys come from p.
func newFetching(t *testing.T, p http.RoundTripper, config verify.Config) *verify.Verifier {
	t.Helper()
	config.Issuer, config.Audience = testIssuer, testAudience
	if config.HTTPClient == nil {
		config.HTTPClient = &http.Client{Transport: p}
	}
	if config.Keys != nil {
		config.JWKSetURL = testIssuer + "/.well-known/jwks.json"
	}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// check verifies a token of a signer and compares the error.
func check(t *testing.T, v *verify.Verifier, by *signer, want error) {
	t.Helper()
	if _, err := v.Verify(t.Context(), by.token(t, by.header(), payload())); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// refuse is an issuer that is down.
func refuse(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// hang is an issuer that never answers.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestSourceOneRequestForAll(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	body := publish(t, s)
	p.set(func(r *http.Request) (*http.Response, error) {
		time.Sleep(time.Second) // a slow issuer, in faked time
		return reply(200, body)(r)
	})
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		token := s.token(t, s.header(), payload())
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := p.requests.Load(); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
	})
}

// Without any traffic, too: a verifier with a token an hour must learn of a
// removed key as soon as a busy one.
func TestSourceRefreshesAhead(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "public, max-age=600", "ETag", `"a"`))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		var conditional atomic.Bool
		p.set(func(r *http.Request) (*http.Response, error) {
			conditional.Store(r.Header.Get("If-None-Match") == `"a"`)
			return reply(http.StatusNotModified, "", "ETag", `"a"`)(r)
		})
		for _, tc := range []struct {
			at       time.Duration // since the last answer
			requests int64
		}{
			{7*time.Minute + 29*time.Second, 1}, // before 75 %
			{8*time.Minute + 31*time.Second, 2}, // after 85 %
		} {
			time.Sleep(tc.at - time.Since(v.Health().LastSuccess))
			if n := p.requests.Load(); n != tc.requests {
				t.Errorf("after %v: got %d requests, want %d", tc.at, n, tc.requests)
			}
		}
		if !conditional.Load() {
			t.Error("the entity tag was not used")
		}
		time.Sleep(50 * time.Minute)
		if n := p.requests.Load(); n < 6 || n > 9 {
			t.Errorf("got %d requests in an hour, want one in about 8 minutes", n)
		}
		if state := v.Health().State; state != verify.Fresh {
			t.Errorf("answers of 304 left the keys %v", state)
		}
	})
}

// A fleet that was deployed at once must not come back at once.
func TestSourceJitter(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "max-age=1000"))
	synctest.Test(t, func(t *testing.T) {
		seconds := map[time.Duration]bool{}
		for range 50 {
			v := newFetching(t, p, verify.Config{})
			if err := v.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := time.Until(v.Health().NextRefresh)
			if after < 750*time.Second || after > 850*time.Second {
				t.Errorf("the refresh is after %v, want 750 s to 850 s", after)
			}
			seconds[after.Round(time.Second)] = true
		}
		if len(seconds) < 20 {
			t.Errorf("50 verifiers refresh at only %d different seconds", len(seconds))
		}
	})
}

// Strangers who invent key IDs cause one attempt in 30 s, whatever the issuer
// does.
func TestSourceCooldown(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	good := publish(t, s)
	for name, answer := range map[string]answer{
		"issuer up":       reply(200, good),
		"issuer down":     refuse,
		"issuer hangs":    hang,
		"document is bad": reply(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, good))
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, verify.Config{})
				start := time.Now()
				check(t, v, s, nil)
				p.set(answer)
				for range 3 {
					time.Sleep(30 * time.Second)
					verifyInvented(t, v, 10_000)
					// One at the start, and one in 30 s.
					if n, most := p.requests.Load(), 1+int64(time.Since(start)/(30*time.Second)); n < 2 || n > most {
						t.Errorf("got %d requests after %v, want at most %d", n, time.Since(start), most)
					}
				}
			})
		})
	}
}

// verifyInvented verifies n tokens at once whose key IDs nobody has published.
func verifyInvented(t *testing.T, v *verify.Verifier, n int) {
	t.Helper()
	var wg sync.WaitGroup
	var wrong atomic.Int64
	for range n {
		wg.Go(func() {
			token := encode(fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, rand.Text(), wire.TokenType)) + ".e30.AA"
			// While an issuer hangs, it cannot be told whether it has the key.
			_, err := v.Verify(t.Context(), token)
			if !errors.Is(err, verify.ErrUnknownKey) && !errors.Is(err, verify.ErrKeysUnavailable) {
				wrong.Add(1)
			}
		})
	}
	wg.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d of %d invented tokens got a wrong answer", wrong.Load(), n)
	}
}

func TestSourceCooldownWithoutKeys(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(refuse)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		for range 600 {
			for range 10 {
				check(t, v, s, verify.ErrKeysUnavailable)
			}
			time.Sleep(100 * time.Millisecond)
		}
		// By the clock alone: at 0, 1, 3, 7, 15 and 31 s, and jitter.
		if n := p.requests.Load(); n < 5 || n > 6 {
			t.Errorf("got %d requests for 6,000 tokens in a minute, want 5 or 6", n)
		}
	})
}

func TestSourceFindsANewKey(t *testing.T) {
	t.Parallel()
	s, next := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		p.set(reply(200, publish(t, s, next)))
		time.Sleep(30 * time.Second)
		check(t, v, next, nil)
	})
}

func TestSourceBadSignatureFetchesNothing(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		time.Sleep(5 * time.Minute)
		forged := newSigner(t, jwk.ES256).token(t, s.header(), payload())
		if _, err := v.Verify(t.Context(), forged); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("got %v, want %v", err, verify.ErrSignature)
		}
		if n := p.requests.Load(); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
	})
}

// Two replicas of the issuer with different key sets, behind one address: each
// answer replaces the one before, nothing is mixed, and tokens of both get
// through within the cooldown.
func TestSourceTwoGoodDocuments(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	var tags []string
	bodies := map[string]string{`"a"`: publish(t, a), `"b"`: publish(t, b)}
	serve := func(tag string) {
		p.set(func(r *http.Request) (*http.Response, error) {
			tags = append(tags, r.Header.Get("If-None-Match"))
			return reply(200, bodies[tag], "ETag", tag)(r)
		})
	}
	serve(`"a"`)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, a, nil)
		for range 3 {
			serve(`"b"`)
			time.Sleep(30 * time.Second)
			check(t, v, b, nil)
			check(t, v, a, verify.ErrUnknownKey) // in the cooldown
			serve(`"a"`)
			time.Sleep(30 * time.Second)
			check(t, v, a, nil)
			check(t, v, b, verify.ErrUnknownKey)
		}
		if got, want := strings.Join(tags, " "), ` "a" "b" "a" "b" "a" "b"`; got != want {
			t.Errorf("got entity tags %s, want %s", got, want)
		}
	})
}

// While the issuer takes its time, nobody can tell whether it has a new key,
// however fresh the set is.
func TestSourceCannotTellYet(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		time.Sleep(30 * time.Second)
		p.set(hang)
		check(t, v, unknown, verify.ErrKeysUnavailable)
		check(t, v, s, nil)
		time.Sleep(5 * time.Second)
		check(t, v, unknown, verify.ErrKeysUnavailable) // it did not answer
	})
}

func TestSourceBoundsTheWait(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(hang)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		token := s.token(t, s.header(), payload())
		var wg sync.WaitGroup
		for _, tc := range []struct{ patience, want time.Duration }{
			{time.Hour, 2 * time.Second},
			{time.Second, time.Second},
			{0, 0},
		} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
				defer cancel()
				start := time.Now()
				if _, err := v.Verify(ctx, token); !errors.Is(err, verify.ErrKeysUnavailable) {
					t.Errorf("got %v, want %v", err, verify.ErrKeysUnavailable)
				}
				if waited := time.Since(start); waited != tc.want {
					t.Errorf("waited %v, want %v", waited, tc.want)
				}
			})
		}
		wg.Wait()
		time.Sleep(4 * time.Second) // the request itself is given up after 5 s
		if got := v.Health().LastError; got != "timeout" {
			t.Errorf("got error %q, want timeout", got)
		}
	})
}
