//go:build pkcs11

package pkcs11_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	miekg "github.com/miekg/pkcs11"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
)

const hint = "install Debian's softhsm2 and opensc"

// softHSM is the real library, in this process, with tokens in a folder of the
// tests. All tests share it, since it reads its settings once.
type softHSM struct {
	module, folder, pinFile string
	// ctx is another user of the library in this process: it initialized it,
	// and does what devices do not expect.
	ctx *miekg.Ctx
	// directories are where tokens are, by label.
	directories map[string]string
	once        sync.Once
}

var hsm softHSM

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	hsm.folder = folder
	// The library reads it in C_Initialize.
	os.Setenv("SOFTHSM2_CONF", filepath.Join(folder, "softhsm2.conf"))
	m.Run()
	if hsm.ctx != nil {
		_ = hsm.ctx.Finalize()
		hsm.ctx.Destroy()
	}
}

// tokens are those that the tests use, each with the keys in it. What a test
// does to a token, others would feel.
var tokens = map[string][]string{
	"sessions":  {"EC:prime256v1 es 01", "rsa:2048 rs 02", "EC:edwards25519 ed 03", "EC:prime256v1 twin 04", "EC:prime256v1 twin 05", "EC:secp384r1 p384 06"},
	"closed":    {"EC:prime256v1 es 01"},
	"loggedout": {"EC:prime256v1 es 01"},
	"moved":     {"EC:prime256v1 es 01"},
	"pin":       {"EC:prime256v1 es 01"},
	"finalized": {"EC:prime256v1 es 01"},
	"renamed":   {"EC:prime256v1 es 01"},
}

// useSoftHSM makes the tokens, or skips the test.
func useSoftHSM(t testing.TB) *softHSM {
	t.Helper()
	util := needs.Program(t, "softhsm2-util", hint)
	tool := needs.Program(t, "pkcs11-tool", hint)
	library := needs.Path(t, module, hint)
	hsm.once.Do(func() {
		hsm.module, hsm.pinFile = library, filepath.Join(hsm.folder, "pin")
		hsm.directories = map[string]string{}
		tokenFolder := filepath.Join(hsm.folder, "tokens")
		must(t, os.Mkdir(tokenFolder, 0o700))
		must(t, os.WriteFile(filepath.Join(hsm.folder, "softhsm2.conf"),
			fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokenFolder), 0o600))
		writePIN(t, hsm.pinFile, rightPIN)
		// Two have the same label.
		for _, label := range append([]string{"same", "same"}, keysOf(tokens)...) {
			before, _ := filepath.Glob(filepath.Join(tokenFolder, "*"))
			command(t, util, "--init-token", "--free", "--label", label, "--pin", rightPIN, "--so-pin", "12345678")
			after, _ := filepath.Glob(filepath.Join(tokenFolder, "*"))
			hsm.directories[label] = newIn(before, after)
			for _, key := range tokens[label] {
				words := strings.Fields(key)
				command(t, tool, "--module", library, "--token-label", label, "--login", "--pin", rightPIN,
					"--keypairgen", "--key-type", words[0], "--label", words[1], "--id", words[2], "--usage-sign")
			}
		}
		hsm.ctx = miekg.New(library)
		must(t, hsm.ctx.Initialize())
	})
	if hsm.ctx == nil {
		t.Fatal("SoftHSM could not be set up")
	}
	return &hsm
}

func keysOf(m map[string][]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func newIn(before, after []string) string {
	for _, path := range after {
		if !strings.Contains(strings.Join(before, "\n"), path) {
			return path
		}
	}
	return ""
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, output)
	}
}

// open makes a device that the test closes.
func (h *softHSM) open(t testing.TB, sessions int) *pkcs11.Device {
	t.Helper()
	d, err := pkcs11.New(pkcs11.Config{Module: h.module, PINFile: h.pinFile, Sessions: sessions})
	must(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return d
}

// slot is where the token with the label is.
func (h *softHSM) slot(t testing.TB, label string) uint {
	t.Helper()
	slots, err := h.ctx.GetSlotList(true)
	must(t, err)
	for _, slot := range slots {
		if info, err := h.ctx.GetTokenInfo(slot); err == nil && info.Label == label {
			return slot
		}
	}
	t.Fatalf("no slot holds token %q", label)
	return 0
}

// signerFor opens the only key of a token with that label.
func (h *softHSM) signerFor(t testing.TB, d *pkcs11.Device, label string) (sign func() error) {
	t.Helper()
	uri := "pkcs11:token=" + label + ";object=es"
	public, err := d.Public(t.Context(), uri)
	must(t, err)
	s, err := d.Open(uri, public)
	must(t, err)
	return func() error {
		signature, err := s.Sign(context.Background(), input)
		if err == nil && !verified(public, input, signature) {
			t.Error("signature does not verify")
		}
		return err
	}
}

func TestSoftHSM(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	d := h.open(t, 4)
	for name, algorithm := range map[string]jwk.Algorithm{"es": jwk.ES256, "rs": jwk.RS256, "ed": jwk.EdDSA} {
		uri := "pkcs11:token=sessions;object=" + name
		public, err := d.Public(t.Context(), uri)
		must(t, err)
		if public.Algorithm() != algorithm {
			t.Errorf("%s: got algorithm %s, want %s", name, public.Algorithm(), algorithm)
		}
		s, err := d.Open(uri+"?pin-source=file://"+h.pinFile, public)
		must(t, err)
		// On every core, and more of them than there are sessions.
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				for n := range 10 {
					own := fmt.Appendf(nil, "%s.%d.%d", input, i, n)
					signature, err := s.Sign(t.Context(), own)
					if err != nil || len(signature) != public.SignatureSize() || !verified(public, own, signature) {
						t.Errorf("%s: signature %x, %v does not verify", name, signature, err)
					}
				}
			})
		}
		group.Wait()
	}
}

func TestSoftHSMRefuses(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	d := h.open(t, 2)
	es, err := d.Public(t.Context(), "pkcs11:token=sessions;object=es")
	must(t, err)
	for uri, want := range map[string]string{
		"pkcs11:token=sessions;object=twin":               "2 private keys match the URI; add the id of the right one: id=%0",
		"pkcs11:token=sessions;object=other":              "no such private key",
		"pkcs11:token=sessions;id=%04":                    "is not that of the public key in the manifest",
		"pkcs11:token=sessions;object=rs":                 "is not that of the public key in the manifest",
		"pkcs11:token=same;object=es":                     "2 tokens match the URI",
		"pkcs11:token=nothing;object=es":                  "no token matches the URI",
		"pkcs11:object=es;manufacturer=SoftHSM%20project": "tokens match the URI",
	} {
		_, err := d.Open(uri, es)
		mustFail(t, err, want)
	}
	_, err = d.Public(t.Context(), "pkcs11:token=sessions;object=p384")
	mustFail(t, err, "not supported")
	_, err = pkcs11.New(pkcs11.Config{Module: "/nowhere/library.so"})
	mustFail(t, err, "no such file")
	_, err = pkcs11.New(pkcs11.Config{Module: h.pinFile})
	mustFail(t, err, "is not a PKCS #11 library for this machine")
}

// TestSoftHSMSessionsLost: other code in this process closes them all.
func TestSoftHSMSessionsLost(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	sign := h.signerFor(t, h.open(t, 4), "closed")
	slot := h.slot(t, "closed")
	for range 10 {
		must(t, h.ctx.CloseAllSessions(slot))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := sign(); err != nil {
					t.Errorf("signing after the sessions were lost: %v", err)
				}
			})
		}
		group.Wait()
	}
}

func TestSoftHSMLoggedOut(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	d := h.open(t, 4)
	sign := h.signerFor(t, d, "loggedout")
	for range 10 {
		session, err := h.ctx.OpenSession(h.slot(t, "loggedout"), miekg.CKF_SERIAL_SESSION)
		must(t, err)
		must(t, h.ctx.Logout(session))
		must(t, sign())
		must(t, h.ctx.Logout(session))
		_ = h.signerFor(t, d, "loggedout")
		must(t, h.ctx.CloseSession(session))
	}
}

// TestSoftHSMWrongPIN: SoftHSM says in the flags of a token that a wrong PIN
// was tried, and forgets it at a good login.
func TestSoftHSMWrongPIN(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	d := h.open(t, 1)
	path := filepath.Join(t.TempDir(), "pin")
	writePIN(t, path, wrongPIN)
	uri := "pkcs11:token=pin;object=es?pin-source=" + path
	_, err := d.Public(t.Context(), uri)
	mustFail(t, err, "CKR_PIN_INCORRECT")
	for range 5 {
		// Within the pause the same error is returned again.
		_, err = d.Public(t.Context(), uri+"&x-other=1")
		mustFail(t, err, "PIN")
	}
	other := h.open(t, 1)
	public, err := other.Public(t.Context(), "pkcs11:token=pin;object=es")
	must(t, err)
	s, err := other.Open("pkcs11:token=pin;object=es", public)
	must(t, err)
	mustSign(t, s, public)
}
