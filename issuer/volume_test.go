package issuer_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// A volume is a folder that changes as one of Kubernetes does: keys.json leads
// to ..data/keys.json, and ..data to a folder that is never written again.
type volume string

func newVolume(t testing.TB, text string) volume {
	t.Helper()
	v := volume(t.TempDir())
	v.swap(t, text)
	if err := os.Symlink(filepath.Join("..data", "keys.json"), v.path()); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v volume) path() string { return filepath.Join(string(v), "keys.json") }

// swap renames a link to a new folder over ..data and removes the old folder.
func (v volume) swap(t testing.TB, text string) {
	t.Helper()
	data := filepath.Join(string(v), "..data")
	old, _ := os.Readlink(data) // none yet at first
	folder := filepath.Join(string(v), fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "keys.json"), text)
	if err := os.Symlink(filepath.Base(folder), data+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		t.Fatal(err)
	}
	if old == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(string(v), old)); err != nil {
		t.Fatal(err)
	}
}

// A mounted Secret is followed.
func TestServeFollowsAVolume(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	good, text := i.manifest(t)
	v := newVolume(t, string(text))
	p := serve(t, i, "CUSTOMERSESSION_KEYS_FILE="+v.path())

	unsafe := clone(t, good)
	unsafe.Version++
	unsafe.Keys = unsafe.Keys[1:]
	v.swap(t, string(unsafe.Encode()))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"refused".*dropped.*signing`)
	ready := p.operations.do(t, http.MethodGet, "/readyz", "")
	if got := ready.texts(t, "warnings"); ready.status != http.StatusOK || len(got) != 1 || !strings.Contains(got[0], "version 1 stays in use") {
		t.Errorf("readiness: got %d %s, want 200 and a warning", ready.status, ready.body)
	}

	token := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	next, err := keys.Activate(good, time.Now(), "")
	if err != nil || next.Version == good.Version {
		t.Fatalf("activating: version %d, %v", next.Version, err)
	}
	v.swap(t, string(next.Encode()))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"replaced"`)
	metrics := p.operations.do(t, http.MethodGet, "/metrics", "").body
	for series, want := range map[string]string{`keys_manifest_version`: "2", `file_refused{file="keys"}`: "0"} {
		if got := samples(t, metrics, "customersession_")[series]; got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	if a := p.public.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("a token from before: got %d %s, want 200", a.status, a.body)
	}
}
