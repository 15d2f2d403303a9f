package keys_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func serve(h http.Handler, method string, noneMatch ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, "/.well-known/jwks.json", nil)
	request.Header["If-None-Match"] = noneMatch
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func maxAge(t *testing.T, r *httptest.ResponseRecorder) time.Duration {
	t.Helper()
	var seconds int
	control := r.Header().Get("Cache-Control")
	if _, err := fmt.Sscanf(control, "public, max-age=%d, must-revalidate", &seconds); err != nil || seconds < 0 {
		t.Fatalf("Cache-Control %q: %v", control, err)
	}
	return time.Duration(seconds) * time.Second
}

// TestHandlerThroughTime lets a set live its life, asking often: the document
// changes exactly at the events that change it, caches may keep one for as long
// as the policy says, and the entity tag names it.
func TestHandlerThroughTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := keys.DefaultPolicy()
		m, err := keys.Init(p, time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keys.NewRing(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := keys.NewHandler(func() *keys.Ring { return ring })
		first, second := m.Keys[0], m.Keys[1]
		takeOver, removed := second.ActivateAt, first.RemoveAt
		var etag, text string
		for now := time.Now(); now.Before(removed); now = time.Now() {
			r := serve(h, http.MethodGet)
			if r.Code != http.StatusOK {
				t.Fatalf("%v: got status %d", now, r.Code)
			}
			newTag, newText := r.Header().Get("ETag"), r.Body.String()
			// The keys are the same until both leave; the current one is first.
			if etag != "" && (newTag != etag) != now.Equal(takeOver) {
				t.Errorf("%v: ETag changed %v, want %v", now, newTag != etag, now.Equal(takeOver))
			}
			if etag != "" && (newTag == etag) != (newText == text) {
				t.Errorf("%v: ETag and body do not agree", now)
			}
			etag, text = newTag, newText
			// All that happens is planned, so it never brings caches together.
			if age := maxAge(t, r); age != p.Cache {
				t.Errorf("%v: got max-age %v, want that of the policy", now, age)
			}
			// A step of 10 minutes, but never over an event.
			step := 10 * time.Minute
			if next := m.NextEvent(now); !next.IsZero() {
				step = min(step, next.Sub(now))
			}
			time.Sleep(step)
		}
		// Both keys of the first set leave at the same instant; an empty set is not served.
		r := serve(h, http.MethodGet)
		if r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") == "" ||
			r.Header().Get("Cache-Control") != "no-store" || r.Header().Get("ETag") != "" {
			t.Errorf("nothing published: got %d, %v", r.Code, r.Header())
		}
	})
}

func TestHandler(t *testing.T) {
	t.Parallel()
	m, err := keys.Init(keys.DefaultPolicy(), time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := keys.NewHandler(func() *keys.Ring { return ring })
	d := ring.JWKSet(time.Now())

	for _, tc := range []struct {
		name, method string
		noneMatch    []string
		status       int
	}{
		{"get", "GET", nil, 200},
		{"head", "HEAD", nil, 200},
		{"same", "GET", []string{d.ETag}, 304},
		{"same, head", "HEAD", []string{d.ETag}, 304},
		{"weak", "GET", []string{"W/" + d.ETag}, 304},
		{"any", "GET", []string{"*"}, 304},
		{"list", "GET", []string{`"a,b" , W/"c",` + d.ETag}, 304},
		{"list without it", "GET", []string{`"a", "b"`}, 200},
		{"without quotes", "GET", []string{strings.Trim(d.ETag, `"`)}, 200},
		{"other", "GET", []string{`"0"`}, 200},
		{"empty", "GET", []string{""}, 200},
		{"post", "POST", nil, 405},
		{"options", "OPTIONS", nil, 405},
		{"delete with it", "DELETE", []string{"*"}, 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := serve(h, tc.method, tc.noneMatch...)
			text := r.Body.String()
			if r.Code != tc.status {
				t.Fatalf("got status %d, want %d", r.Code, tc.status)
			}
			for name, want := range map[string]string{"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"} {
				if got := r.Header().Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if tc.status == http.StatusMethodNotAllowed {
				if r.Header().Get("Allow") != "GET, HEAD" || text != `{"detail":"Method Not Allowed"}` || r.Header().Get("ETag") != "" {
					t.Errorf("got %v, %s", r.Header(), text)
				}
				return
			}
			if got := r.Header().Get("ETag"); got != d.ETag {
				t.Errorf("ETag: got %s, want %s", got, d.ETag)
			}
			if got, want := maxAge(t, r), time.Hour; got != want {
				t.Errorf("max-age: got %v, want %v", got, want)
			}
			length, kind, want := strconv.Itoa(len(d.Body)), jwk.MediaType, string(d.Body)
			if tc.method == http.MethodHead {
				want = ""
			}
			if tc.status == http.StatusNotModified {
				length, kind, want = "", "", ""
			}
			if got := r.Header().Get("Content-Length"); got != length {
				t.Errorf("Content-Length: got %q, want %q", got, length)
			}
			if got := r.Header().Get("Content-Type"); got != kind {
				t.Errorf("Content-Type: got %q, want %q", got, kind)
			}
			if text != want {
				t.Errorf("body: got %s, want %s", text, want)
			}
		})
	}
}

// TestHandlerWithoutRing is a start before the first manifest, then two
// manifests in turn.
func TestHandlerWithoutRing(t *testing.T) {
	t.Parallel()
	var ring *keys.Ring
	h := keys.NewHandler(func() *keys.Ring { return ring })
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r := serve(h, method, "*")
		if r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") != "10" || r.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %d, %v", r.Code, r.Header())
		}
	}
	seen := map[string]bool{}
	for range 2 {
		m, err := keys.Init(keys.DefaultPolicy(), time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		if ring, err = keys.NewRing(m, nil); err != nil {
			t.Fatal(err)
		}
		seen[serve(h, http.MethodGet).Header().Get("ETag")] = true
	}
	if len(seen) != 2 || seen[""] {
		t.Errorf("got entity tags %v, want two", seen)
	}
}
