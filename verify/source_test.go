package verify_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// A publisher is an issuer's key endpoint without a network.
type publisher struct {
	requests atomic.Int64
	mu       sync.Mutex
	answer   func(*http.Request) (*http.Response, error)
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.requests.Add(1)
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	return answer(r)
}

func (p *publisher) set(answer func(*http.Request) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func reply(status int, body string, headers ...string) func(*http.Request) (*http.Response, error) {
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

// inBubble runs f with a verifier whose keys come from p, in faked time.
func inBubble(t *testing.T, p *publisher, f func(*testing.T, *verify.Verifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v, err := verify.New(verify.Config{
			Issuer: testIssuer, Audience: testAudience, MaxLifetime: 24 * time.Hour,
			HTTPClient: &http.Client{Transport: p},
		})
		if err != nil {
			t.Fatal(err)
		}
		f(t, v)
	})
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
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
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

func TestSourceRefreshesAhead(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "public, max-age=600", "ETag", `"a"`))
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
		verifyNow := func() {
			t.Helper()
			if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		verifyNow()
		var conditional atomic.Bool
		p.set(func(r *http.Request) (*http.Response, error) {
			conditional.Store(r.Header.Get("If-None-Match") == `"a"`)
			return reply(http.StatusNotModified, "", "Cache-Control", "max-age=600", "ETag", `"a"`)(r)
		})
		time.Sleep(7 * time.Minute) // 70 %
		verifyNow()
		if n := p.requests.Load(); n != 1 {
			t.Errorf("at 70 %% of freshness: %d requests, want 1", n)
		}
		time.Sleep(2 * time.Minute) // 90 %
		verifyNow()
		if n := p.requests.Load(); n != 2 || !conditional.Load() {
			t.Errorf("at 90 %% of freshness: %d requests, conditional %t, want 2 and true", n, conditional.Load())
		}
		time.Sleep(7 * time.Minute) // 304 made the set fresh again
		verifyNow()
		if n := p.requests.Load(); n != 2 {
			t.Errorf("after a 304: %d requests, want 2", n)
		}
	})
}

func TestSourceSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "max-age=600"))
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
		check := func(by *signer, want error) {
			t.Helper()
			if _, err := v.Verify(t.Context(), by.token(t, by.header(), payload())); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		check(s, nil)
		p.set(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		time.Sleep(time.Minute)
		check(unknown, verify.ErrUnknownKey) // the set is fresh: "no" is an answer
		time.Sleep(10 * time.Minute)
		check(s, nil)
		check(unknown, verify.ErrKeysUnavailable) // it is not any more: cannot tell
		time.Sleep(58*time.Minute + 59*time.Second)
		check(s, nil) // one second before MaxStale
		time.Sleep(time.Second)
		check(s, verify.ErrKeysUnavailable)
		p.set(reply(200, publish(t, s)))
		time.Sleep(30 * time.Second)
		check(s, nil)
	})
}

func TestSourceStartsWithoutTheIssuer(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(503, ""))
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
		token := s.token(t, s.header(), payload())
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrKeysUnavailable) {
			t.Errorf("got %v, want %v", err, verify.ErrKeysUnavailable)
		}
		p.set(reply(200, publish(t, s)))
		time.Sleep(30 * time.Second)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("did not heal: %v", err)
		}
	})
}

func TestSourceCooldown(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]bool{"issuer up": false, "issuer down": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigner(t, jwk.ES256)
			p := &publisher{}
			p.set(reply(200, publish(t, s)))
			inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
				if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); err != nil {
					t.Fatal(err)
				}
				if outage {
					p.set(reply(500, ""))
				}
				time.Sleep(30 * time.Second)
				for i := range 1000 {
					header := strings.Replace(s.header(), s.key.ID(), strings.Repeat("x", i%200), 1)
					if _, err := v.Verify(t.Context(), s.token(t, header, payload())); !errors.Is(err, verify.ErrUnknownKey) {
						t.Fatalf("got %v, want %v", err, verify.ErrUnknownKey)
					}
				}
				if n := p.requests.Load(); n != 2 {
					t.Errorf("got %d requests, want 2: one at the start, one in 30 s", n)
				}
			})
		})
	}
}

func TestSourceFindsANewKey(t *testing.T) {
	t.Parallel()
	s, next := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
		if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); err != nil {
			t.Fatal(err)
		}
		p.set(reply(200, publish(t, s, next)))
		time.Sleep(30 * time.Second)
		if _, err := v.Verify(t.Context(), next.token(t, next.header(), payload())); err != nil {
			t.Errorf("an unknown key ID did not make it look: %v", err)
		}
	})
}

func TestSourceKeepsTheGoodSet(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"not JSON":      reply(200, "<html>"),
		"empty set":     reply(200, `{"keys":[]}`),
		"too long":      reply(200, `{"keys":[`+strings.Repeat(" ", 256<<10)+`]}`),
		"redirect":      reply(302, "", "Location", "https://evil.example/"),
		"server error":  reply(500, publish(t, newSigner(t, jwk.ES256))),
		"other success": reply(206, publish(t, newSigner(t, jwk.ES256))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, publish(t, s), "Cache-Control", "max-age=60"))
			inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
				for range 3 {
					if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); err != nil {
						t.Error(err)
					}
					p.set(answer)
					time.Sleep(2 * time.Minute)
				}
				if n := p.requests.Load(); n < 2 {
					t.Errorf("got %d requests: the bad answer was never asked for", n)
				}
			})
		})
	}
}

func TestSourceBoundsTheWait(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done() // an issuer that never answers
		return nil, r.Context().Err()
	})
	inBubble(t, p, func(t *testing.T, v *verify.Verifier) {
		start := time.Now()
		if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); !errors.Is(err, verify.ErrKeysUnavailable) {
			t.Errorf("got %v, want %v", err, verify.ErrKeysUnavailable)
		}
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("waited %v, want 2 s", waited)
		}
		time.Sleep(10 * time.Second) // the request itself is given up, too
	})
}
