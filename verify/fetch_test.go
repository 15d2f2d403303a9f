package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

func TestFetchFreshness(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for _, tc := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"nothing said", nil, 10 * time.Minute},
		{"max-age", []string{"Cache-Control", "max-age=900"}, 15 * time.Minute},
		{"among others", []string{"Cache-Control", "public, must-revalidate,MAX-AGE=900 , stale-if-error=1"}, 15 * time.Minute},
		{"quoted", []string{"Cache-Control", `max-age="900"`}, 15 * time.Minute},
		{"the first of two", []string{"Cache-Control", "max-age=900, max-age=1200"}, 15 * time.Minute},
		{"for shared caches", []string{"Cache-Control", "s-maxage=900"}, 10 * time.Minute},
		{"other directives", []string{"Cache-Control", "public"}, 10 * time.Minute},
		{"too long", []string{"Cache-Control", "max-age=86400"}, time.Hour},
		{"longer than any number", []string{"Cache-Control", "max-age=99999999999999999999"}, time.Hour},
		{"too short", []string{"Cache-Control", "max-age=5"}, time.Minute},
		{"zero", []string{"Cache-Control", "max-age=0"}, time.Minute},
		{"not a number", []string{"Cache-Control", "max-age=soon"}, time.Minute},
		{"negative", []string{"Cache-Control", "max-age=-1"}, time.Minute},
		{"no-store", []string{"Cache-Control", "max-age=900, no-store"}, time.Minute},
		{"no-cache", []string{"Cache-Control", "no-cache"}, time.Minute},
		{"from a cache", []string{"Cache-Control", "max-age=900", "Age", "300"}, 10 * time.Minute},
		{"from a cache, long-lived", []string{"Cache-Control", "max-age=86400", "Age", "86000"}, 400 * time.Second},
		{"from a cache, stale", []string{"Cache-Control", "max-age=900", "Age", "1000"}, time.Minute},
		{"bad age", []string{"Cache-Control", "max-age=900", "Age", "old"}, 15 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, publish(t, s), tc.headers...))
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, verify.Config{})
				check(t, v, s, nil)
				p.set(refuse)
				time.Sleep(tc.want - 1)
				if got := v.Health().State; got != verify.Fresh {
					t.Errorf("1 ns before %v: %v", tc.want, got)
				}
				time.Sleep(time.Nanosecond)
				if got := v.Health().State; got != verify.Stale {
					t.Errorf("after %v: %v", tc.want, got)
				}
			})
		})
	}
}

// The age counts from the question, not from the answer.
func TestFetchSlowAnswer(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	body := publish(t, s)
	p.set(func(r *http.Request) (*http.Response, error) {
		time.Sleep(1900 * time.Millisecond)
		return reply(200, body, "Cache-Control", "max-age=60")(r)
	})
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		start := time.Now()
		check(t, v, s, nil)
		p.set(refuse)
		time.Sleep(time.Until(start.Add(time.Minute)))
		if got := v.Health().State; got != verify.Stale {
			t.Errorf("got %v, want %v", got, verify.Stale)
		}
	})
}

// A 304 renews the freshness that was given before, unless it gives another.
func TestFetchNotModified(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for _, tc := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"nothing said", nil, 20 * time.Minute},
		{"another", []string{"Cache-Control", "max-age=120"}, 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, publish(t, s), "Cache-Control", "max-age=1200", "ETag", `W/"a"`))
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, verify.Config{})
				check(t, v, s, nil)
				p.set(func(r *http.Request) (*http.Response, error) {
					if got := r.Header.Get("If-None-Match"); got != `W/"a"` {
						t.Errorf("got If-None-Match %s", got)
					}
					return reply(304, "", tc.headers...)(r)
				})
				if err := v.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.set(refuse)
				time.Sleep(tc.want - 1)
				if got := v.Health().State; got != verify.Fresh {
					t.Errorf("1 ns before %v: %v", tc.want, got)
				}
				time.Sleep(time.Nanosecond)
				if got := v.Health().State; got != verify.Stale {
					t.Errorf("after %v: %v", tc.want, got)
				}
			})
		})
	}
}

// keysOf writes a JWK Set of the given JWKs.
func keysOf(list ...string) string { return `{"keys":[` + strings.Join(list, ",") + `]}` }

// What is refused as a whole leaves the last good set in use, and says in one
// word why.
func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	good := string(other.key.AppendJSON(nil))
	many := make([]string, 65)
	for i := range many {
		many[i] = good
	}
	ambiguous := strings.Replace(string(s.key.AppendJSON(nil)), s.key.ID(), other.key.ID(), 1)
	for _, tc := range []struct {
		name   string
		answer answer
		class  string
	}{
		{"not JSON", reply(200, "<html>"), "document"},
		{"nothing", reply(200, ""), "document"},
		{"a list", reply(200, `[]`), "document"},
		{"no list of keys", reply(200, `{}`), "document"},
		{"keys an object", reply(200, `{"keys":{}}`), "document"},
		{"keys twice", reply(200, `{"keys":[`+good+`],"keys":[`+good+`]}`), "document"},
		{"text after it", reply(200, keysOf(good)+"x"), "document"},
		{"two keys with one ID", reply(200, keysOf(good, ambiguous)), "document"},
		{"65 keys", reply(200, keysOf(many...)), "document"},
		{"empty", reply(200, keysOf()), "no_usable_key"},
		{"only a key that is not for us", reply(200, keysOf(`{"kty":"oct","k":"AA"}`)), "no_usable_key"},
		{"256 KiB and a byte", reply(200, keysOf(good)+strings.Repeat(" ", 256<<10+1-len(keysOf(good)))), "too_large"},
		{"endless", func(r *http.Request) (*http.Response, error) {
			response, err := reply(200, "")(r)
			response.Body = io.NopCloser(endless{})
			return response, err
		}, "too_large"},
		{"redirect", reply(302, keysOf(good), "Location", "https://evil.example/"), "status"},
		{"permanent redirect", reply(308, keysOf(good), "Location", "/other"), "status"},
		{"server error", reply(500, keysOf(good)), "status"},
		{"other success", reply(206, keysOf(good)), "status"},
		{"304 that nobody asked for", reply(304, keysOf(good)), "status"},
		{"connection", refuse, "connection"},
		{"connection lost", func(r *http.Request) (*http.Response, error) {
			response, err := reply(200, "")(r)
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), broken{}))
			return response, err
		}, "connection"},
		{"timeout", hang, "timeout"},
		{"timeout in the body", func(r *http.Request) (*http.Response, error) {
			response, err := reply(200, "")(r)
			response.Body = slow{r.Context()}
			return response, err
		}, "timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, publish(t, s)))
			// A client that follows redirects must not.
			config := verify.Config{HTTPClient: &http.Client{
				Transport:     p,
				CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
			}}
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, config)
				check(t, v, s, nil)
				p.set(tc.answer)
				err := v.Refresh(t.Context())
				if !errors.Is(err, verify.ErrKeysUnavailable) || strings.Count(err.Error(), "example") != 1 ||
					!strings.Contains(err.Error(), "fetching "+testIssuer+"/.well-known/jwks.json: ") {
					t.Errorf("got %v, want %v with no address but the configured one", err, verify.ErrKeysUnavailable)
				}
				if n := p.requests.Load(); n != 2 {
					t.Errorf("got %d requests, want 2", n)
				}
				health := v.Health()
				if health.LastError != tc.class || health.State != verify.Fresh {
					t.Errorf("got %q and %v, want %q and fresh keys", health.LastError, health.State, tc.class)
				}
				check(t, v, s, nil)
				// The keys are fresh, but this one may have been published since.
				check(t, v, other, verify.ErrKeysUnavailable)
			})
		})
	}
}

// The largest documents that are allowed, and one with more than keys.
func TestFetchAccepts(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	good := string(s.key.AppendJSON(nil))
	many := []string{good}
	for len(many) < 64 {
		many = append(many, string(newSigner(t, jwk.EdDSA).key.AppendJSON(nil)))
	}
	for name, body := range map[string]string{
		"64 keys":       keysOf(many...),
		"256 KiB":       keysOf(good) + strings.Repeat(" ", 256<<10-len(keysOf(good))),
		"other members": `{"x":[1],"keys":[` + good + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, body))
			synctest.Test(t, func(t *testing.T) { check(t, newFetching(t, p, verify.Config{}), s, nil) })
		})
	}
}

func TestFetchSkipsKeys(t *testing.T) {
	t.Parallel()
	s, private := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA)
	with := func(s *signer, member string) string {
		return strings.Replace(string(s.key.AppendJSON(nil)), "{", "{"+member+",", 1)
	}
	renamed := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, keysOf(
		string(s.key.AppendJSON(nil)),
		`{"kty":"AKP","kid":"a"}`,
		`{"kty":"EC","crv":"P-384","kid":"b","x":"AA","y":"AA"}`,
		strings.Replace(string(newSigner(t, jwk.ES256).key.AppendJSON(nil)), `"sig"`, `"enc"`, 1),
		with(newSigner(t, jwk.ES256), `"key_ops":["sign"]`),
		with(private, `"d":"AA"`),
		strings.Replace(string(newSigner(t, jwk.ES256).key.AppendJSON(nil)), `"ES256"`, `"RS256"`, 1),
		strings.Replace(string(renamed.key.AppendJSON(nil)), renamed.key.ID(), "mine", 1),
		`{"kty":"OKP","crv":"Ed25519","kid":"c","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kty":"EC","crv":"P-256","kid":"d","x":"AA","y":"AA"}`,
		`{"kty":"RSA","kid":"e","n":"AQAB","e":"AQAB"}`,
		`{"kty":"RSA","kid":1}`,
		`null`,
	)))
	want := map[string]int{
		"unsupported": 2, "not_for_verify": 2, "private": 1, "contradiction": 1, "thumbprint": 1,
		"small_order": 1, "point": 1, "rsa": 1, "malformed": 2,
	}
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		health := v.Health()
		if !reflect.DeepEqual(health.Skipped, want) || len(health.KeyIDs) != 1 || health.LastError != "" {
			t.Fatalf("got %+v, want skipped %v", health, want)
		}
		health.Skipped["private"] = 100
		if v.Health().Skipped["private"] != 1 {
			t.Error("what a caller got is what the verifier has")
		}
		for _, skipped := range []*signer{private, renamed} {
			check(t, v, skipped, verify.ErrUnknownKey)
		}
	})
}

// The request is plain, and a large entity tag is not sent back.
func TestFetchRequest(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	body := publish(t, s)
	p.set(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet || r.URL.String() != testIssuer+"/.well-known/jwks.json" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		want := http.Header{"Accept": {"application/jwk-set+json, application/json"}}
		if !reflect.DeepEqual(r.Header, want) {
			t.Errorf("got %v, want %v", r.Header, want)
		}
		return reply(200, body, "ETag", fmt.Sprintf("%q", bytes.Repeat([]byte("x"), 1024)))(r)
	})
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		if err := v.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// endless, broken and slow are bodies of answers that go wrong.
type (
	endless struct{}
	broken  struct{}
	slow    struct{ ctx context.Context } //nolint:containedctx // a body lives as long as its request
)

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (s slow) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (slow) Close() error { return nil }
