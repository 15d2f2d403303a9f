package pkcs11_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
)

func TestPINFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"plain", rightPIN, 0o600, ""},
		{"with the end of the line", rightPIN + "\n", 0o400, ""},
		{"with the end of the line of Windows", rightPIN + "\r\n", 0o400, ""},
		{"of a Kubernetes Secret", rightPIN, 0o644, ""},
		{"for the group", rightPIN, 0o440, ""},
		{"writable for the group", rightPIN, 0o660, "run chmod go-w"},
		{"writable for all", rightPIN, 0o602, "run chmod go-w"},
		{"with a byte order mark", "\ufeff" + rightPIN, 0o600, "begins with a byte order mark"},
		{"empty", "", 0o600, "is empty"},
		{"an empty line", "\n", 0o600, "is empty"},
		{"two lines", rightPIN + "\n\n", 0o600, "CKR_PIN_INCORRECT"},
		{"long", strings.Repeat("1", 1025), 0o600, "more than a PIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			private, _ := pair(t, jwk.ES256, "a", "\x01")
			d := open(t, newFake(private), 1)
			defer d.Close()
			path := filepath.Join(t.TempDir(), "pin")
			must(t, os.WriteFile(path, []byte(c.content), 0o600))
			must(t, os.Chmod(path, c.mode))
			_, err := d.Open("pkcs11:object=a?pin-source=file:"+path, private.public(t))
			if c.want == "" {
				must(t, err)
				return
			}
			mustFail(t, err, c.want)
		})
	}
}

func TestNoPINFile(t *testing.T) {
	t.Parallel()
	private, _ := pair(t, jwk.ES256, "a", "\x01")
	f := newFake(private)
	d, err := pkcs11.NewWith(pkcs11.Config{Module: module}, f)
	must(t, err)
	defer d.Close()
	_, err = d.Open("pkcs11:object=a", private.public(t))
	mustFail(t, err, "the token demands a PIN; name the file")
	_, err = d.Open("pkcs11:object=a?pin-source=/nowhere/pin", private.public(t))
	mustFail(t, err, "/nowhere/pin")
	if got := f.count("C_Login"); got != 0 {
		t.Errorf("got %d logins, want none", got)
	}
}

// TestWrongPIN: a token locks after a few wrong PINs, so that none may be tried
// twice, however often it is to sign.
func TestWrongPIN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		private, _ := pair(t, jwk.ES256, "a", "\x01")
		f := newFake(private)
		pin := pinPath(t)
		d, err := pkcs11.NewWith(pkcs11.Config{Module: module, PINFile: pin}, f)
		must(t, err)
		defer d.Close()
		s, err := d.Open("pkcs11:object=a", private.public(t))
		must(t, err)

		f.set(func() { clear(f.sessions); f.loggedIn = false })
		writePIN(t, pin, wrongPIN)
		_, err = s.Sign(t.Context(), input)
		mustFail(t, err, "CKR_PIN_INCORRECT")
		for range 50 {
			time.Sleep(pkcs11.RestTime)
			_, err = s.Sign(t.Context(), input)
			mustFail(t, err, "is not tried again; write the right one to the file")
			// Another address of the same token.
			_, err = d.Open("pkcs11:serial=1;object=a", private.public(t))
			mustFail(t, err, "is not tried again")
		}
		if got := f.count("C_Login"); got != 2 {
			t.Errorf("got %d logins, want the good one and one with the wrong PIN", got)
		}
		writePIN(t, pin, rightPIN)
		time.Sleep(pkcs11.RestTime)
		mustSign(t, s, private.public(t))
	})
}

func TestPINThatMayNotBeTried(t *testing.T) {
	t.Parallel()
	for flag, want := range map[uint]string{
		pkcs11.FlagUserPINFinalTry: "one more wrong PIN would lock the token",
		pkcs11.FlagUserPINLocked:   "the token has locked the PIN",
	} {
		private, _ := pair(t, jwk.ES256, "a", "\x01")
		f := newFake(private)
		f.token.Flags |= flag
		d := open(t, f, 1)
		_, err := d.Open("pkcs11:object=a", private.public(t))
		mustFail(t, err, want)
		if got := f.count("C_Login"); got != 0 {
			t.Errorf("got %d logins, want none", got)
		}
		must(t, d.Close())
	}
}
