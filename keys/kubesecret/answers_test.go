package kubesecret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

const aToken = "{token: " + aSecretToken + "}"

const aSecretToken = "k3Xq9ZtV7wLp2RfB6nYc"

// TestAnswers reads answers that no API server gives, and errors that one does.
func TestAnswers(t *testing.T) {
	t.Parallel()
	hide(aSecretToken)
	m := newManifest(t)
	good := string(secretJSON(t, m))
	data := base64.StdEncoding.EncodeToString(m.Encode())
	for _, c := range []struct {
		name   string
		code   int
		body   string
		repeat bool // whether another attempt is worthwhile
		words  []string
	}{
		{"nothing", 200, "", false, []string{"not this Secret"}},
		{"HTML", 200, "<html>" + data, false, []string{"not this Secret"}},
		{"half", 200, good[:len(good)-20], false, []string{"not this Secret"}},
		{"a list", 200, strings.Replace(good, `"kind":"Secret"`, `"kind":"SecretList"`, 1), false, []string{"not this Secret"}},
		{"another name", 200, strings.Replace(good, `"name":"keys"`, `"name":"other"`, 1), false, []string{"not this Secret"}},
		{"another namespace", 200, strings.Replace(good, `"shop"`, `"other"`, 1), false, []string{"not this Secret"}},
		{"no UID", 200, strings.Replace(good, `"u1"`, `""`, 1), false, []string{"not this Secret"}},
		{"no version", 200, strings.Replace(good, `"17"`, `""`, 1), false, []string{"not this Secret"}},
		{"no base64", 200, strings.Replace(good, data[:40], data[:39]+"~", 1), false, []string{"not this Secret"}},
		{"no text", 200, strings.Replace(good, `"`+data+`"`, "12", 1), false, []string{"not this Secret"}},
		{"too long", 200, good + strings.Repeat(" ", 3<<20), false, []string{"longer than"}},
		{"no keys", 200, strings.Replace(good, data, base64Of(`{"version": "`+data), 1), false, []string{"manifest"}},
		{"redirect", 302, data, false, []string{"302", "check the address"}},
		{"another server", 404, "404 page " + data, false, []string{"404 Not Found,", "check the address"}},
		{"another resource", 404, statusJSON(404, "NotFound", "the server could not find the requested resource"), false, []string{"could not find the requested"}},
		{"a proxy", 502, "<html>" + data, true, []string{"502 Bad Gateway"}},
		{"etcd", 500, statusJSON(500, "InternalError", "etcdserver: request timed out"), true, []string{"etcdserver: request timed out"}},
		{"busy", 429, statusJSON(429, "TooManyRequests", "try again"), true, []string{"429 Too Many Requests: try again"}},
		{"unknown status", 299, "", false, []string{"not this Secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			_, _, err := mustNew(t, f.config(t, aToken)).Read(t.Context())
			wantError(t, err, append(c.words, "reading Secret shop/keys: ")...)
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, which looks as if there were no manifest", err)
			}
			want := int32(1)
			if c.repeat {
				want = 3
			}
			if asked.Load() != want {
				t.Errorf("got %d requests, want %d", asked.Load(), want)
			}
		})
	}
}

// TestServerRecovers fails once, and says when to try again.
func TestServerRecovers(t *testing.T) {
	t.Parallel()
	m := newManifest(t)
	var asked atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write(secretJSON(t, m))
	})
	start := time.Now()
	if got, want := wantRead(t, mustNew(t, f.config(t, aToken)), m), "u1/17"; got != want {
		t.Errorf("got revision %q, want %q", got, want)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("it came back after %v, want 1s or more", took)
	}
	// It does not wait beyond the timeout.
	asked.Store(0)
	config := f.config(t, aToken)
	config.Timeout = 500 * time.Millisecond
	_, _, err := mustNew(t, config).Read(t.Context())
	wantError(t, err, "429")
}

// TestRefusedWrites refuses a write. Some answers quote the request, as a
// careless admission webhook does.
func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	m := newManifest(t)
	for _, c := range []struct {
		code     int
		answer   func(sent string) string
		conflict bool
		unsure   bool
		words    []string
	}{
		{400, func(sent string) string { return statusJSON(400, "BadRequest", "webhook denied: "+sent) }, false, false, []string{"400 Bad Request: webhook denied: {", "[…]"}},
		{403, func(sent string) string { return statusJSON(403, "Forbidden", strings.Repeat("\n\x1b[31m", 300)+sent) }, false, false, []string{"403 Forbidden", "verb update"}},
		{409, func(string) string { return statusJSON(409, "Conflict", "the object has been modified") }, true, false, nil},
		{409, func(sent string) string { return sent }, false, false, []string{"409 Conflict, but not as Kubernetes does"}},
		{422, func(sent string) string { return statusJSON(422, "Invalid", "data: "+sent[len(sent)/2:]) }, false, false, []string{"422"}},
		{429, func(string) string { return "" }, false, false, []string{"429"}},
		{500, func(string) string { return statusJSON(500, "InternalError", "etcdserver: request timed out") }, false, true, []string{"request timed out"}},
		{504, func(string) string { return statusJSON(504, "Timeout", "request did not complete") }, false, true, []string{"504"}},
	} {
		t.Run(strconv.Itoa(c.code), func(t *testing.T) {
			t.Parallel()
			var written atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = w.Write(secretJSON(t, m))
					return
				}
				written.Add(1)
				sent, err := io.ReadAll(r.Body)
				if err != nil || !bytes.Contains(sent, []byte(`"resourceVersion":"17"`)) || !bytes.Contains(sent, []byte(`"uid":"u1"`)) {
					t.Errorf("got %d bytes, %v, want the UID and the resourceVersion in them", len(sent), err)
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.answer(string(sent)))
			})
			err := mustNew(t, f.config(t, aToken)).Write(t.Context(), newer(t, m), "u1/17")
			wantError(t, err, c.words...)
			if errors.Is(err, keys.ErrConflict) != c.conflict {
				t.Errorf("got %v, want a conflict: %v", err, c.conflict)
			}
			if strings.Contains(err.Error(), "may have been written") != c.unsure {
				t.Errorf("got %v, want doubt: %v", err, c.unsure)
			}
			if written.Load() != 1 {
				t.Errorf("it was sent %d times, want once", written.Load())
			}
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got an error of %d bytes: %q", len(err.Error()), err)
			}
		})
	}
}

// TestClockOfTheServer: a schedule made with a wrong clock is not written.
func TestClockOfTheServer(t *testing.T) {
	t.Parallel()
	m := newManifest(t) // its skew is 30 s
	for _, c := range []struct {
		name  string
		there bool          // whether there is a Secret
		ahead time.Duration // of the server's clock
		error string        // empty if it writes
	}{
		{"the same", true, 0, ""},
		{"a little ahead", true, 20 * time.Second, ""},
		{"ahead", true, 40 * time.Second, "the clock here is behind the API server's"},
		{"behind", true, -40 * time.Second, "the clock here is ahead of the API server's"},
		{"ten years behind", true, -10 * 365 * 24 * time.Hour, "the clock here is ahead of the API server's"},
		{"no Secret yet", false, time.Hour, "the clock here is behind the API server's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var written atomic.Bool
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
				switch {
				case r.Method != http.MethodGet:
					written.Store(true)
				case c.there:
					_, _ = w.Write(secretJSON(t, m))
				default:
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, `{"kind": "Status", "reason": "NotFound", "details": {"kind": "secrets"}}`)
				}
			})
			s := mustNew(t, f.config(t, aToken))
			revision := ""
			if c.there {
				revision = wantRead(t, s, m)
			}
			err := s.Write(t.Context(), m, revision)
			if want := c.error == ""; written.Load() != want || (err == nil) != want {
				t.Fatalf("written: %v, error: %v, want written: %v", written.Load(), err, want)
			}
			if err != nil {
				wantError(t, err, c.error, "nothing was written")
				wantBothTimes(t, err, c.ahead)
			}
		})
	}
}

// wantBothTimes checks that the error has the time here, and that of a server
// whose clock is ahead.
func wantBothTimes(t *testing.T, err error, ahead time.Duration) {
	t.Helper()
	found := regexp.MustCompile(`here it is (\S+), there (\S+);`).FindStringSubmatch(err.Error())
	if found == nil {
		t.Fatalf("got %v, want both times", err)
	}
	for i, want := range []time.Time{time.Now(), time.Now().Add(ahead)} {
		got, err := time.Parse(time.RFC3339, found[i+1])
		if err != nil || got.Sub(want).Abs() > 10*time.Second {
			t.Errorf("got the time %s, %v, want about %s", got, err, want)
		}
	}
}
