package kubesecret_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// hidden collects texts that no error of any test may contain.
var hidden struct {
	sync.Mutex
	texts []string
}

// hide adds texts that no error may contain, and returns the first one.
func hide(texts ...string) string {
	hidden.Lock()
	defer hidden.Unlock()
	hidden.texts = append(hidden.texts, texts...)
	return texts[0]
}

// newManifest returns a manifest whose private parts are hidden, in base64 too,
// as in a Secret.
func newManifest(t testing.TB) *keys.Manifest {
	t.Helper()
	m, err := keys.Init(keys.DefaultPolicy(), time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	return hideManifest(t, m)
}

func hideManifest(t testing.TB, m *keys.Manifest) *keys.Manifest {
	t.Helper()
	text := m.Encode()
	hide(base64.StdEncoding.EncodeToString(text))
	var document struct {
		Keys []struct {
			Private struct{ D string }
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, key := range document.Keys {
		if len(key.Private.D) != 43 {
			t.Fatalf("a private key of %d characters is hidden, want 43", len(key.Private.D))
		}
		hide(key.Private.D)
	}
	return m
}

// clone returns a manifest to change.
func clone(t testing.TB, m *keys.Manifest) *keys.Manifest {
	t.Helper()
	c, err := keys.ParseManifest(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newer returns the next version of the manifest.
func newer(t testing.TB, m *keys.Manifest) *keys.Manifest {
	t.Helper()
	c := clone(t, m)
	c.Version++
	return hideManifest(t, c)
}

// wantError checks that the error contains all words, and nothing hidden.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one that says %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got error %q, want it to say %q", err, word)
		}
	}
	wantNothingHidden(t, err.Error())
}

// wantNothingHidden looks for every piece of the hidden texts.
func wantNothingHidden(t testing.TB, text string) {
	t.Helper()
	const piece = 7
	hidden.Lock()
	defer hidden.Unlock()
	for _, secret := range hidden.texts {
		for i := 0; i+piece <= len(secret); i++ {
			if strings.Contains(text, secret[i:i+piece]) {
				t.Errorf("a secret is in %q", text)
				return
			}
		}
	}
}

// TestHiddenIsFound tests the check itself.
func TestHiddenIsFound(t *testing.T) {
	t.Parallel()
	secret := hide("e5ZhBTMV8nyWQa0NrXXfBh5u")
	probe := &failing{TB: t}
	wantNothingHidden(probe, "the server says: "+secret[5:20])
	if !probe.failed {
		t.Error("a piece of a secret in a message was not noticed")
	}
}

// failing remembers that a test failed.
type failing struct {
	testing.TB

	failed bool
}

func (f *failing) Errorf(string, ...any) { f.failed = true }
func (*failing) Helper()                 {}
