package pkcs11_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
)

var _ keys.OpenSigner = (*pkcs11.Device)(nil).Open

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustFail checks that the error says so, and no PIN.
func mustFail(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil && (strings.Contains(err.Error(), rightPIN) || strings.Contains(err.Error(), wrongPIN)) {
		t.Errorf("the error holds a PIN: %v", err)
	}
}

const wrongPIN = "wrong-PIN-2648"

func writePIN(t testing.TB, path, pin string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(pin+"\n"), 0o600))
}

func pinPath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	writePIN(t, path, rightPIN)
	return path
}

// open makes a device out of the fake, which the test closes.
func open(t testing.TB, f *fake, sessions int) *pkcs11.Device {
	t.Helper()
	d, err := pkcs11.NewWith(pkcs11.Config{Module: module, PINFile: pinPath(t), Sessions: sessions}, f)
	must(t, err)
	return d
}

// verified checks a JWS Signature with the standard library alone.
func verified(public *jwk.Key, input, signature []byte) bool {
	sum := sha256.Sum256(input)
	switch p := public.Public().(type) {
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return len(signature) == 64 && ecdsa.Verify(p, sum[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(p, input, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

var input = []byte("eyJhbGciOiJFUzI1NiJ9.e30")

// mustSign signs and verifies.
func mustSign(t testing.TB, s keys.Signer, public *jwk.Key) {
	t.Helper()
	signature, err := s.Sign(t.Context(), input)
	if err != nil {
		t.Fatalf("signing: %v", err)
	}
	if !verified(public, input, signature) {
		t.Error("signature does not verify")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config pkcs11.Config
		want   string
	}{
		{pkcs11.Config{}, "absolute path"},
		{pkcs11.Config{Module: "libsofthsm2.so"}, "absolute path"},
		{pkcs11.Config{Module: module, Sessions: -1}, "-1 sessions"},
		{pkcs11.Config{Module: module, Sessions: 1025}, "1025 sessions"},
	} {
		_, err := pkcs11.NewWith(c.config, newFake())
		mustFail(t, err, c.want)
		_, err = pkcs11.New(c.config)
		mustFail(t, err, c.want)
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		for _, raw := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, raw point %t", algorithm, raw), func(t *testing.T) {
				t.Parallel()
				private, public := pair(t, algorithm, "2026", "\x01")
				public.rawPoint = raw
				d := open(t, newFake(private, public), 2)
				defer d.Close()
				s, err := d.Open("pkcs11:token=sessions;object=2026", private.public(t))
				must(t, err)
				own := bytes.Clone(input)
				signature, err := s.Sign(t.Context(), own)
				must(t, err)
				if !verified(private.public(t), input, signature) || !bytes.Equal(own, input) {
					t.Error("signature does not verify, or the input was changed")
				}
				got, err := d.Public(t.Context(), "pkcs11:id=%01")
				must(t, err)
				if !got.Equal(private.public(t)) {
					t.Errorf("got public key %s, want %s", got.ID(), private.public(t).ID())
				}
			})
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	private, public := pair(t, jwk.ES256, "a", "\x01")
	twin, _ := pair(t, jwk.ES256, "a", "\x02\xff")
	alone, _ := pair(t, jwk.ES256, "alone", "\x03")
	nameless, _ := pair(t, jwk.ES256, "nameless", "")
	lying, _ := pair(t, jwk.ES256, "lying", "\x04")
	_, lie := pair(t, jwk.ES256, "lying", "\x04")
	rsaKey, _ := pair(t, jwk.RS256, "rsa", "\x05")
	d := open(t, newFake(private, public, twin, alone, nameless, lying, lie, rsaKey), 2)
	defer d.Close()
	for _, c := range []struct {
		uri    string
		public *object
		want   string
	}{
		{"pkcs11:object=a", private, "2 private keys match the URI; add the id of the right one: id=%01, id=%02%FF"},
		{"pkcs11:object=b", private, "no such private key"},
		{"pkcs11:object=a;id=%03", private, "no such private key"},
		{"pkcs11:id=%01", twin, "is not that of the public key in the manifest: its thumbprint is " + private.public(t).Thumbprint()},
		{"pkcs11:object=alone", private, "is not that of the public key in the manifest"},
		{"pkcs11:object=rsa", private, "ES256 needs a key of another type"},
		{"pkcs11:object=lying", lying, "is not that of the public key in the manifest"},
		{"pkcs11:object=lying", lie, "is not that of the public key in the manifest"},
		{"pkcs11:token=other;object=a", private, `the device has token="sessions" with serial="1"`},
		{"pkcs11:serial=2;id=%01", private, "no token matches the URI"},
		{"pkcs11:slot-id=8;id=%01", private, "no token matches the URI"},
		{"pkcs11:slot-description=other;id=%01", private, "no token matches the URI"},
		{"pkcs11:library-version=3;id=%01", private, `is not that of the library, "fake", "in memory", 2.40`},
		{"https://elsewhere/key", private, "not a URI of the scheme pkcs11"},
	} {
		_, err := d.Open(c.uri, c.public.public(t))
		mustFail(t, err, c.want)
	}
	for _, uri := range []string{"pkcs11:object=alone", "pkcs11:object=nameless"} {
		_, err := d.Public(t.Context(), uri)
		mustFail(t, err, "no public key with the ID of the private key")
	}
	for uri, key := range map[string]*object{
		"pkcs11:object=alone":       alone,
		"pkcs11:object=nameless":    nameless,
		"pkcs11:object=a;id=%02%FF": twin,
		"pkcs11:id=%01;slot-id=7;slot-manufacturer=fake;slot-description=slot": private,
		"pkcs11:id=%01;model=v1;manufacturer=fake;library-version=2.40":        private,
		"pkcs11:id=%01?module-path=" + module:                                  private,
	} {
		s, err := d.Open(uri, key.public(t))
		must(t, err)
		mustSign(t, s, key.public(t))
	}
}

// TestOpenDisturbsNobody: a manifest with a wrong key must not cost a good one
// a single signature.
func TestOpenDisturbsNobody(t *testing.T) {
	t.Parallel()
	private, _ := pair(t, jwk.ES256, "a", "\x01")
	other, _ := pair(t, jwk.ES256, "b", "\x02")
	f := newFake(private, other)
	d := open(t, f, 1)
	defer d.Close()
	s, err := d.Open("pkcs11:object=a", private.public(t))
	must(t, err)
	for range 3 {
		_, err := d.Open("pkcs11:object=b", private.public(t))
		mustFail(t, err, "is not that of the public key")
		mustSign(t, s, private.public(t))
	}
	if got := f.count("C_OpenSession"); got != 1 {
		t.Errorf("got %d sessions, want the first one to last", got)
	}
}

// TestReopen: a server opens its keys again for each manifest.
func TestReopen(t *testing.T) {
	t.Parallel()
	private, _ := pair(t, jwk.ES256, "a", "\x01")
	f := newFake(private)
	d := open(t, f, 3)
	for range 100 {
		s, err := d.Open("pkcs11:object=a", private.public(t))
		must(t, err)
		mustSign(t, s, private.public(t))
	}
	if f.most > 3 {
		t.Errorf("got %d sessions at once, want at most 3", f.most)
	}
	if got := f.count("C_Login"); got != 1 {
		t.Errorf("got %d logins, want 1", got)
	}
	must(t, d.Close())
	must(t, d.Close())
	if !f.unloaded || len(f.sessions) != 0 || f.initialized {
		t.Error("closing left something behind")
	}
	_, err := d.Open("pkcs11:object=a", private.public(t))
	mustFail(t, err, "the device is closed")
}

// TestInitializedBySomebodyElse: then it is not ours to finalize.
func TestInitializedBySomebodyElse(t *testing.T) {
	t.Parallel()
	private, _ := pair(t, jwk.ES256, "a", "\x01")
	f := newFake(private)
	f.initialized = true
	d := open(t, f, 1)
	s, err := d.Open("pkcs11:object=a", private.public(t))
	must(t, err)
	mustSign(t, s, private.public(t))
	must(t, d.Close())
	if !f.initialized {
		t.Error("closing finalized the library of somebody else")
	}
}

// TestLibraryThatStartsLate: some cannot be initialized while their device is
// away.
func TestLibraryThatStartsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		private, _ := pair(t, jwk.ES256, "a", "\x01")
		f := newFake(private)
		f.fails("C_Initialize", 0x30, 2)
		d := open(t, f, 1)
		_, err := d.Open("pkcs11:object=a", private.public(t))
		mustFail(t, err, "initializing the PKCS #11 library: C_Initialize: CKR_DEVICE_ERROR")
		if !errors.Is(err, keys.ErrSignerAway) {
			t.Errorf("got %v, want %v", err, keys.ErrSignerAway)
		}
		time.Sleep(pkcs11.RestTime)
		_, err = d.Open("pkcs11:object=a", private.public(t))
		must(t, err)
		must(t, d.Close())
	})
}

// TestOpenSaysWhatTheDeviceCannot: errors that an operator meets when a key was
// made in the wrong way.
func TestOpenSaysWhatTheDeviceCannot(t *testing.T) {
	t.Parallel()
	for code, want := range map[uint]string{
		0x68:       "CKR_KEY_FUNCTION_NOT_PERMITTED: the key was made for another use than signing",
		0x70:       "CKR_MECHANISM_INVALID: the device cannot sign with ES256",
		0x80000123: "C_Sign: return value 0x80000123",
	} {
		private, _ := pair(t, jwk.ES256, "a", "\x01")
		f := newFake(private)
		d := open(t, f, 1)
		f.fails("C_Sign", code, -1)
		_, err := d.Open("pkcs11:object=a", private.public(t))
		mustFail(t, err, want)
		must(t, d.Close())
	}
}

func TestPublicKeysOfNoUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(public *object, f *fake)
		want   string
	}{
		"two":                  {func(public *object, f *fake) { f.add(public) }, "several public keys have the ID of the private key, id=%01"},
		"another curve":        {func(public *object, _ *fake) { public.key = p384(t) }, jwk.ErrUnsupported.Error()},
		"another type of key":  {func(_ *object, f *fake) { f.objects[1].kind = 0x10 }, jwk.ErrUnsupported.Error()},
		"a point of no curve":  {func(public *object, _ *fake) { public.point = bytes.Repeat([]byte{4}, 65) }, jwk.ErrUnsupported.Error()},
		"a point of Ed25519":   {func(public *object, _ *fake) { public.point = make([]byte, 32) }, jwk.ErrUnsupported.Error()},
		"no point":             {func(public *object, _ *fake) { public.point = []byte{} }, jwk.ErrUnsupported.Error()},
		"that of another pair": {func(public *object, _ *fake) { *public = *another(t) }, "the private key in the device is not that of the public key"},
	} {
		private, public := pair(t, jwk.ES256, "a", "\x01")
		f := newFake(private, public)
		c.change(public, f)
		d := open(t, f, 1)
		_, err := d.Public(t.Context(), "pkcs11:object=a")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		must(t, d.Close())
	}
}

func another(t *testing.T) *object {
	t.Helper()
	_, public := pair(t, jwk.ES256, "a", "\x01")
	return public
}

func p384(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	return key
}
