package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// A logbook is a logger's output that may be read while it is written.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A restart during an outage: the second verifier finds the keys of the first.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	file := filepath.Join(t.TempDir(), "keys.json")
	p := &publisher{}
	p.set(reply(200, publish(t, s), "ETag", `"a"`))
	config := verify.Config{SnapshotFile: file}
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, config)
		check(t, v, s, nil)
		synctest.Wait()
		assertPrivate(t, file)
		first := time.Now()
		p.set(reply(304, "")) // an answer without news renews the file, too
		time.Sleep(30 * time.Minute)
		v.Close()

		p.set(func(r *http.Request) (*http.Response, error) {
			if tag := r.Header.Get("If-None-Match"); tag != "" {
				t.Errorf("the request is conditional on a file: %s", tag)
			}
			return refuse(r)
		})
		log := &logbook{}
		config.Logger = log.logger()
		again := newFetching(t, p, config)
		check(t, again, s, nil)
		check(t, again, newSigner(t, jwk.ES256), verify.ErrKeysUnavailable) // cannot tell
		health := again.Health()
		if health.State != verify.Stale || health.LastSuccess.Sub(first) < 20*time.Minute {
			t.Errorf("got %v of %v, want stale keys not older than 10 minutes", health.State, health.LastSuccess)
		}
		if !strings.Contains(log.String(), "found keys in the snapshot") {
			t.Errorf("the log says nothing about the snapshot: %s", log)
		}
		// The age is the file's, not this process's.
		time.Sleep(time.Until(health.LastSuccess.Add(time.Hour - 1)))
		check(t, again, s, nil)
		time.Sleep(time.Nanosecond)
		check(t, again, s, verify.ErrKeysUnavailable)
		p.set(reply(200, publish(t, s)))
		time.Sleep(37 * time.Second)
		check(t, again, s, nil)
	})
}

// assertPrivate demands mode 0600, and that no other file is there but the one with
// the revocations.
func assertPrivate(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v, want the two files", entries, err)
	}
	for _, name := range []string{file, file + ".revocations"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", name, info.Mode())
		}
	}
}

// The issuer's answer counts for more than the file, also for the first token.
func TestSnapshotYieldsToTheIssuer(t *testing.T) {
	t.Parallel()
	removed, current := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	file := filepath.Join(t.TempDir(), "keys.json")
	p := &publisher{}
	p.set(reply(200, publish(t, removed)))
	synctest.Test(t, func(t *testing.T) {
		check(t, newFetching(t, p, verify.Config{SnapshotFile: file}), removed, nil)
		synctest.Wait()
		body := publish(t, current)
		p.set(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, body)(r)
		})
		v := newFetching(t, p, verify.Config{SnapshotFile: file})
		check(t, v, removed, verify.ErrUnknownKey)
		check(t, v, current, nil)
	})
}

// The file is input from nobody in particular.
func TestSnapshotIgnored(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	const mode = 0o600
	document := func(issuer, url string, age time.Duration, set string) func(time.Time) string {
		return func(now time.Time) string {
			return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"fetched_at":%d,"jwks":%s}`,
				issuer, url, now.Add(-age).Unix(), set)
		}
	}
	text := func(text string) func(time.Time) string { return func(time.Time) string { return text } }
	const url = testIssuer + "/.well-known/jwks.json"
	good := publish(t, s)
	goodNow := document(testIssuer, url, 0, good)
	for _, tc := range []struct {
		name    string
		content func(now time.Time) string
		mode    os.FileMode
		reason  string // empty: it is used
	}{
		{"good", goodNow, mode, ""},
		{"readable by others", goodNow, 0o644, ""},
		{"a second before MaxStale", document(testIssuer, url, time.Hour-time.Second, good), mode, ""},
		{"ahead by the leeway", document(testIssuer, url, -30*time.Second, good), mode, ""},
		{"group may write", goodNow, 0o620, "others may write it"},
		{"everybody may write", goodNow, 0o602, "others may write it"},
		{"as old as MaxStale", document(testIssuer, url, time.Hour, good), mode, "it is older than MaxStale"},
		{"of 1970", text(goodNow(time.Unix(0, 0))), mode, "it is older than MaxStale"},
		{"from the future", document(testIssuer, url, -31*time.Second, good), mode, "it is from the future"},
		{"another issuer's", document("https://other.example", url, 0, good), mode, "it is of another issuer"},
		{"from another address", document(testIssuer, "https://other.example/", 0, good), mode, "it is of another issuer"},
		{"empty", text(""), mode, "it is damaged"},
		{"cut off", func(now time.Time) string { return goodNow(now)[:200] }, mode, "it is damaged"},
		{"a member twice", func(now time.Time) string { return `{"issuer":"x",` + goodNow(now)[1:] }, mode, "it is damaged"},
		{"an unknown member", func(now time.Time) string { return `{"x":1,` + goodNow(now)[1:] }, mode, "it is damaged"},
		{"time as text", text(`{"issuer":"x","jwks_uri":"x","fetched_at":"1"}`), mode, "it is damaged"},
		{"no keys", func(now time.Time) string {
			return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"fetched_at":%d}`, testIssuer, url, now.Unix())
		}, mode, "it holds no JWK Set that can be used"},
		{"only a bad key", document(testIssuer, url, 0, `{"keys":[{"kty":"oct"}]}`), mode, "it holds no JWK Set that can be used"},
		{"too long", func(now time.Time) string { return goodNow(now) + strings.Repeat(" ", 261<<10) }, mode, "it is too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "keys.json")
			synctest.Test(t, func(t *testing.T) {
				if err := os.WriteFile(file, []byte(tc.content(time.Now())), tc.mode); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(file, tc.mode); err != nil { // whatever the umask
					t.Fatal(err)
				}
				assertSnapshot(t, s, file, tc.reason)
			})
		})
	}
}

func TestSnapshotThatIsNoFile(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	directory := t.TempDir()
	file := filepath.Join(directory, "keys.json")
	if err := os.Symlink(file, filepath.Join(directory, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{directory, filepath.Join(directory, "link"), os.DevNull} {
		synctest.Test(t, func(t *testing.T) { assertSnapshot(t, s, name, "it is not a regular file") })
	}
	// A file that was never written is nothing to complain about.
	synctest.Test(t, func(t *testing.T) {
		p, log := &publisher{}, &logbook{}
		p.set(reply(200, publish(t, s)))
		check(t, newFetching(t, p, verify.Config{SnapshotFile: file, Logger: log.logger()}), s, nil)
		synctest.Wait()
		if log.String() != "" {
			t.Errorf("got log %s", log)
		}
	})
}

// assertSnapshot starts a verifier during an outage. It finds keys in the file,
// or says in its log why not.
func assertSnapshot(t *testing.T, s *signer, file, reason string) {
	t.Helper()
	p, log := &publisher{}, &logbook{}
	p.set(refuse)
	v := newFetching(t, p, verify.Config{SnapshotFile: file, Logger: log.logger()})
	if reason == "" {
		check(t, v, s, nil)
		if at := v.Health().LastSuccess; at.After(time.Now()) {
			t.Errorf("the keys are of %v, which is yet to come", at)
		}
		return
	}
	check(t, v, s, verify.ErrKeysUnavailable)
	if want := fmt.Sprintf("reason=%q", reason); !strings.Contains(log.String(), want) {
		t.Errorf("got log %q, want %s", log, want)
	}
}

// A file that cannot be written is a line in the log and nothing else.
func TestSnapshotCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	directory := t.TempDir()
	for name, file := range map[string]string{
		"no directory": filepath.Join(directory, "missing", "keys.json"),
		"a directory":  directory,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := &publisher{}, &logbook{}
			p.set(reply(200, publish(t, s)))
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, verify.Config{SnapshotFile: file, Logger: log.logger()})
				check(t, v, s, nil)
				synctest.Wait()
				if !strings.Contains(log.String(), "cannot write the key snapshot") {
					t.Errorf("got log %q", log)
				}
			})
		})
	}
}

// Whoever reads the file at any time finds one that is whole.
func TestSnapshotIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA)
	file := filepath.Join(t.TempDir(), "keys.json")
	p := &publisher{}
	p.set(reply(200, publish(t, a, b)))
	v := newFetching(t, p, verify.Config{SnapshotFile: file})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if err := v.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for reads := 0; reads < 500; {
		data, err := os.ReadFile(file)
		if os.IsNotExist(err) { // not yet
			runtime.Gosched()
			continue
		}
		if err != nil || !json.Valid(data) {
			t.Errorf("got %q, %v", data, err)
		}
		reads++
	}
	close(stop)
	wg.Wait()
	v.Close() // waits for the last one
	assertPrivate(t, file)
}
