package issuer_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// A bubbleServer is a server without sockets, for the clock of a bubble.
type bubbleServer struct {
	*issuer.Server
	secret string
}

func newBubbleServer(t *testing.T, manifest *keys.Manifest) *bubbleServer {
	t.Helper()
	f := &fixture{}
	registry, directory, ring := f.newRegistry(t), newDirectory(t), ringOf(t, manifest, nil)
	server, err := issuer.New(issuer.Config{
		Issuer: "https://sessions.example.com", Customers: directory,
		Keys: func() *keys.Ring { return ring }, Organizations: func() *organizations.Registry { return registry },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &bubbleServer{server, f.secret}
}

func ask(t *testing.T, handler http.Handler, request *http.Request) *answer {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

func (s *bubbleServer) get(t *testing.T, path string) *answer {
	t.Helper()
	return ask(t, s.Handler(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
}

func (s *bubbleServer) operate(t *testing.T, path string) *answer {
	t.Helper()
	return ask(t, s.Operations(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
}

func (s *bubbleServer) create(t *testing.T) *answer {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, createPath, strings.NewReader(`{"customer_id":"`+customerID+`"}`))
	request.Header.Set("Authorization", "Bearer "+s.secret)
	return ask(t, s.Handler(), request)
}

// texts returns a member that is a list of strings, empty when it is missing.
func (a *answer) texts(t testing.TB, name string) []string {
	t.Helper()
	var texts []string
	list, _ := a.members(t)[name].([]any)
	for _, text := range list {
		texts = append(texts, text.(string))
	}
	return texts
}

// until lets time pass.
func until(t time.Time) { time.Sleep(time.Until(t)) }

// A replica that hears of nothing new warns while there is time, and stops
// signing when the last lease ends that it knows of. What it signed is still
// good.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		manifest := newManifest(t, jwk.ES256)
		s := newBubbleServer(t, manifest)
		end, lease := manifest.Keys[1].SignUntil, manifest.Policy.Lease
		check := func(left time.Duration, warns bool) {
			t.Helper()
			until(end.Add(-left))
			ready := s.operate(t, "/readyz")
			warnings := ready.texts(t, "warnings")
			if ready.status != http.StatusOK || ready.text(t, "status") != "ok" || (len(warnings) == 1) != warns {
				t.Errorf("%v before the end: got %d %s, want 200, and a warning: %v", left, ready.status, ready.body, warns)
			}
			want := fmt.Sprintf("no key may sign from %s on, in %v; rotate the keys", end.Format(time.RFC3339), left)
			if warns && (len(warnings) == 0 || !strings.HasPrefix(warnings[0], want)) {
				t.Errorf("%v before the end: the warnings are %q, want %q", left, warnings, want)
			}
			if a := s.create(t); a.status != http.StatusCreated {
				t.Errorf("%v before the end: creating: got %d %s, want 201", left, a.status, a.body)
			}
		}
		check(time.Until(end), false)
		check(lease/4, false)
		check(lease/4-time.Second, true)
		check(time.Second, true)
		until(end.Add(-time.Nanosecond))
		last := s.create(t)
		until(end)

		ready := s.operate(t, "/readyz")
		checkUnready(t, ready, "the lease of key \""+manifest.Keys[1].ID()+"\" ended at "+end.Format(time.RFC3339))
		checkUnavailable(t, s.create(t), noSignature)
		set := s.get(t, "/.well-known/jwks.json")
		if set.status != http.StatusOK || !strings.Contains(string(set.body), manifest.Keys[1].ID()) {
			t.Errorf("the JWK Set: got %d %s, want 200 with the last key", set.status, set.body)
		}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, portalPath+"introspect", http.NoBody)
		request.Header.Set("Authorization", "Bearer "+last.text(t, "token"))
		if a := ask(t, s.Handler(), request); a.status != http.StatusOK {
			t.Errorf("the last session: got %d %s, want 200", a.status, a.body)
		}
	})
}

// Rule 4: no cache keeps a document beyond a revocation, and none says that it
// may be used when it is stale. A removal that was planned ends nobody's token,
// so it must not bring all consumers in one instant.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		revoke bool
		// left is before the first key leaves.
		left, want time.Duration
	}{
		"planned, long before":      {false, 30 * 24 * time.Hour, time.Hour},
		"planned, shortly before":   {false, time.Second, time.Hour},
		"planned, now":              {false, 0, time.Hour},
		"revoked, long before":      {true, 30 * 24 * time.Hour, time.Hour},
		"revoked, an hour before":   {true, time.Hour, time.Hour},
		"revoked, less than that":   {true, time.Hour - time.Second, time.Hour - time.Second},
		"revoked, parts of seconds": {true, 1500 * time.Millisecond, time.Second},
		"revoked, just before":      {true, time.Nanosecond, 0},
		"revoked, now":              {true, 0, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				manifest := newManifest(t, jwk.ES256)
				first := manifest.Keys[0]
				first.SignUntil = manifest.Keys[1].ActivateAt
				first.PromisedUntil = first.SignUntil
				first.RemoveAt = first.SignUntil.Add(manifest.Policy.MaxLifetime + 2*manifest.Policy.Skew)
				leaves := first.RemoveAt
				if test.revoke {
					first.RevokedAt = leaves
					first.RemoveAt = leaves.Add(time.Hour)
				}
				s := newBubbleServer(t, manifest)
				until(leaves.Add(-test.left))
				checkMaxAge(t, s, test.want)
				set := string(s.get(t, "/.well-known/jwks.json").body)
				if got, want := strings.Contains(set, first.ID()), test.left > 0; got != want {
					t.Errorf("the first key is published: %v, want %v", got, want)
				}
			})
		})
	}
}

func checkMaxAge(t *testing.T, s *bubbleServer, want time.Duration) {
	t.Helper()
	control := fmt.Sprintf("public, max-age=%.0f, must-revalidate", want.Seconds())
	for _, path := range []string{
		"/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
	} {
		a := s.get(t, path)
		if got := a.header.Values("Cache-Control"); a.status != http.StatusOK || !slices.Equal(got, []string{control}) {
			t.Errorf("%s: got %d %q, want %q", path, a.status, got, control)
		}
		if a.header.Get("Expires") != "" {
			t.Errorf("%s has Expires beside max-age: %v", path, a.header)
		}
	}
}

// With keys that are rotated daily, what the reference of metrics
// says to alert on does not happen, nor does readiness warn.
func TestNoAlarmWhenRotatedDaily(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	manifest := newManifest(t, jwk.ES256)
	left, alone := 37*day, time.Duration(0)
	for now, aloneSince := time.Now(), time.Now(); now.Before(time.Now().AddDate(1, 0, 0)); now = now.Add(time.Hour) {
		left = min(left, manifest.SignsUntil(now).Sub(now))
		if slices.ContainsFunc(manifest.Keys, func(k *keys.Key) bool { return manifest.StateAt(k, now) == keys.Next }) {
			aloneSince = now
		}
		alone = max(alone, now.Sub(aloneSince))
		if now.Sub(manifest.CreatedAt)%day >= time.Hour {
			continue
		}
		next, err := keys.Rotate(manifest, now)
		if err != nil {
			t.Fatal(err)
		}
		manifest = next
	}
	if left < 5*day/2 || left < manifest.Policy.Lease/4 {
		t.Errorf("no key may sign after %v at the worst, want 2.5 days at least", left)
	}
	if alone > 2*day {
		t.Errorf("no key was ready for %v, want 2 days at most", alone)
	}
	t.Logf("signing was sure for %v at the worst, and no key ready for %v", left, alone)
}
