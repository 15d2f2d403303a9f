//go:build pkcs11

package issuer_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

const (
	softHSMHint = "install Debian's softhsm2 and opensc"
	devicePIN   = "4711"
)

// A softHSM is a device in a folder, with a token in it.
type softHSM struct {
	module, env, tokens, pinFile string
}

func newSoftHSM(t *testing.T) softHSM {
	t.Helper()
	dir := t.TempDir()
	d := softHSM{
		module: needs.Path(t, "/usr/lib/softhsm/libsofthsm2.so", softHSMHint),
		env:    "SOFTHSM2_CONF=" + filepath.Join(dir, "softhsm2.conf"),
		tokens: filepath.Join(dir, "tokens"), pinFile: filepath.Join(dir, "pin"),
	}
	if err := os.Mkdir(d.tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "softhsm2.conf"), "directories.tokendir = "+d.tokens+"\nobjectstore.backend = file\n")
	write(t, d.pinFile, devicePIN+"\n")
	d.run(t, needs.Program(t, "softhsm2-util", softHSMHint),
		"--init-token", "--free", "--label", "sessions", "--pin", devicePIN, "--so-pin", "1234")
	return d
}

func (d softHSM) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(cmd.Environ(), d.env)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(program), err, output)
	}
}

func (d softHSM) generate(t *testing.T, kind, label, id string) {
	t.Helper()
	d.run(t, needs.Program(t, "pkcs11-tool", softHSMHint), "--module", d.module, "--token-label", "sessions",
		"--login", "--pin", devicePIN, "--keypairgen", "--key-type", kind, "--label", label, "--id", id)
}

// TestDevice makes a manifest whose keys never were outside of a device, and
// serves with it: sessions are signed there, an outage of the device is 503 and
// ends by itself.
func TestDevice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "customersession")
	build := exec.Command("go", "build", "-tags", "pkcs11", "-o", path, "github.com/customersession/customersession")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v\n%s", err, output)
	}
	d := newSoftHSM(t)
	d.generate(t, "EC:prime256v1", "first", "01")
	d.generate(t, "EC:prime256v1", "second", "02")
	d.generate(t, "rsa:2048", "third", "03")
	signer := func(label string) []string {
		return []string{
			"--signer", "pkcs11:token=sessions;object=" + label,
			"--pkcs11-module", d.module, "--pin-file", d.pinFile,
		}
	}
	i := install(t, "https://sessions.example.com")
	manifest := filepath.Join(i.dir, "keys.json")
	keysCommand := func(args ...string) {
		t.Helper()
		p := startProgram(t, path, []string{d.env}, append([]string{"keys"}, args...)...)
		if p.wait(t) != 0 {
			t.Fatal(p.stderr)
		}
	}
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	keysCommand(append(append([]string{"init", "--bootstrap", "--file", manifest}, signer("first")...), signer("second")[:2]...)...)

	i.env = append(i.env, d.env,
		"CUSTOMERSESSION_PKCS11_MODULE="+d.module, "CUSTOMERSESSION_PKCS11_PIN_FILE="+d.pinFile)
	p := serveProgram(t, path, i)
	body := fmt.Sprintf(`{"customer_id":%q}`, customerID)
	token := p.public.create(t, body).text(t, "token")
	if a := p.public.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("a token signed in the device: %d %s", a.status, a.body)
	}

	// The manifest is read again, with a key more: sessions go on.
	keysCommand(append([]string{"add", "--file", manifest}, signer("third")...)...)
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"replaced"`)
	p.public.create(t, body)

	away := d.tokens + ".away"
	if err := os.Rename(d.tokens, away); err != nil {
		t.Fatal(err)
	}
	if a := p.public.post(t, i.secret, body); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("without the device: got %d %s, want 503 and when to try again", a.status, a.body)
	}
	if a := p.public.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("without the device, a token from before: %d %s", a.status, a.body)
	}
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); !strings.Contains(string(a.body), "the last signature failed") {
		t.Errorf("without the device, readiness: %d %s", a.status, a.body)
	}
	// What the manifest says otherwise does not wait for the device, nor does a
	// server that starts: consumers need the JWK Set.
	keysCommand("add", "--file", manifest)
	p.find(t, p.stderr, `(?s)"outcome":"replaced".*"file":"(keys)".*"outcome":"replaced"`)
	other := serveProgram(t, path, i)
	if a := other.public.do(t, http.MethodGet, "/.well-known/jwks.json", ""); a.status != http.StatusOK {
		t.Errorf("started without the device, the JWK Set: %d %s", a.status, a.body)
	}
	if a := other.operations.do(t, http.MethodGet, "/readyz", ""); !strings.Contains(string(a.body), "opening the signer of key") {
		t.Errorf("started without the device, readiness: %d %s", a.status, a.body)
	}
	if err := os.Rename(away, d.tokens); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*production{p, other} {
		// It asks the device again once a second.
		patience := time.After(startLimit)
		for p.public.post(t, i.secret, body).status != http.StatusCreated {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-patience:
				t.Fatal("with the device back: still no session")
			}
		}
		for strings.Contains(string(p.operations.do(t, http.MethodGet, "/readyz", "").body), "warnings") {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-patience:
				t.Fatal("with the device back: still warnings")
			}
		}
	}
	p.signal(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
