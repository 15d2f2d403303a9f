package verify_test

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// A history is an observer that keeps everything.
type history struct {
	mu            sync.Mutex
	verifications []verify.Verification
	refreshes     []verify.Refresh
}

func (r *history) Verified(_ context.Context, v verify.Verification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verifications = append(r.verifications, v)
}

func (r *history) Refreshed(e verify.Refresh) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshes = append(r.refreshes, e)
}

// last returns the last refresh.
func (r *history) last(t *testing.T) verify.Refresh {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refreshes) == 0 {
		t.Fatal("no refresh was observed")
	}
	return r.refreshes[len(r.refreshes)-1]
}

func TestObserverRefreshed(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA)
	both := strings.TrimSuffix(publish(t, a, b), "]}")
	p, r := &publisher{}, &history{}
	p.set(reply(200, publish(t, a), "ETag", `"a"`))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{Observer: r})
		for _, step := range []struct {
			name   string
			status int
			body   string
			want   verify.Refresh
		}{
			{"first", 200, publish(t, a), verify.Refresh{Result: "ok", Keys: 1}},
			{"304", 304, "", verify.Refresh{Result: "unchanged", Keys: 1}},
			{"the same", 200, publish(t, a), verify.Refresh{Result: "unchanged", Keys: 1}},
			{"a new key", 200, publish(t, a, b), verify.Refresh{Result: "ok", Keys: 2}},
			{"another order", 200, publish(t, b, a), verify.Refresh{Result: "unchanged", Keys: 2}},
			{
				"a bad key", 200, both + `,{"kty":"oct"}]}`,
				verify.Refresh{Result: "ok", Keys: 2, Skipped: map[string]int{"private": 1}},
			},
			{"an error", 500, "", verify.Refresh{Result: "status"}},
			{"a bad document", 200, "", verify.Refresh{Result: "document"}},
			{"another key", 200, publish(t, b), verify.Refresh{Result: "ok", Keys: 1}},
		} {
			answer := reply(step.status, step.body, "ETag", `"a"`)
			p.set(func(request *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return answer(request)
			})
			// What comes of it is told by the observer.
			_ = v.Refresh(t.Context())
			synctest.Wait()
			step.want.Duration = time.Second
			if got := r.last(t); !reflect.DeepEqual(got, step.want) {
				t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
			}
		}
	})
}

func TestObserverVerified(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.EdDSA), newSigner(t, jwk.EdDSA)
	good := s.token(t, s.header(), payload())
	expired := payload(`"iat":`, `"iat":1,"x":`, `"exp":`, `"exp":2,"y":`)
	for _, tc := range []struct {
		name, token string
		keys        verify.KeySource
		want        verify.Verification
	}{
		{"good", good, s, verify.Verification{Result: "ok"}},
		{"bad signature", unknown.token(t, s.header(), payload()), s, verify.Verification{Result: "signature"}},
		{"unknown key", unknown.token(t, unknown.header(), payload()), s, verify.Verification{Result: "unknown_key"}},
		{"expired", s.token(t, s.header(), expired), s, verify.Verification{Result: "expired"}},
		{"garbage", "x", s, verify.Verification{Result: "malformed"}},
		{"outage", good, unavailable{}, verify.Verification{Result: "keys_unavailable"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &history{}
			v, err := verify.New(verify.Config{
				Issuer: testIssuer, Audience: testAudience, KeySource: tc.keys, Observer: r,
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []verify.Verification{tc.want, tc.want}
			want[1].Cached = tc.want.Result == "ok"
			for range want {
				// What comes of it is told by the observer.
				_, _ = v.Verify(t.Context(), tc.token)
			}
			if !slices.Equal(r.verifications, want) {
				t.Errorf("got %+v, want %+v", r.verifications, want)
			}
		})
	}
}

// The words are what dashboards are made of: they do not change, and every
// error has one.
func TestResults(t *testing.T) {
	t.Parallel()
	want := []string{
		"ok", "malformed", "algorithm", "unknown_key", "signature", "type", "claims",
		"expired", "not_yet_valid", "issuer", "audience", "revoked", "keys_unavailable", "revocations_unavailable",
	}
	if got := verify.Results(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Keys that were left out are a line of log each time they change, not each
// time they are fetched.
func TestLogOfSkippedKeys(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	set := func(more ...string) string {
		return keysOf(append(more, string(s.key.AppendJSON(nil)))...)
	}
	p, log := &publisher{}, &logbook{}
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{Logger: log.logger()})
		for _, step := range []struct {
			body  string
			lines int
		}{
			{set(), 0},
			{set(`{"kty":"oct","k":"c2VjcmV0"}`), 1},
			{set(`{"kty":"oct","k":"c2VjcmV0"}`), 1},
			{set(`{"kty":"AKP"}`, `{"kty":"oct","k":"c2VjcmV0"}`), 2},
			{set(), 2},
		} {
			p.set(reply(200, step.body))
			if err := v.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := strings.Count(log.String(), "cannot be used"); got != step.lines {
				t.Errorf("got %d lines, want %d:\n%s", got, step.lines, log)
			}
		}
		if strings.Contains(log.String(), "c2VjcmV0") {
			t.Error("the log shows a secret")
		}
	})
}
