package verify

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// CountSignatureChecks counts how often v checks a signature from now on.
func CountSignatureChecks(v *Verifier) *atomic.Int64 {
	n := new(atomic.Int64)
	for algorithm, method := range v.methods {
		v.methods[algorithm] = countingMethod{method, n}
	}
	return n
}

type countingMethod struct {
	jwt.SigningMethod

	n *atomic.Int64
}

func (m countingMethod) Verify(input string, signature []byte, key any) error {
	m.n.Add(1)
	return m.SigningMethod.Verify(input, signature, key)
}

// FuzzPlainlyHold holds our short cut to golang-jwt's validator: what we take
// for good without asking it, it would have passed.
func FuzzPlainlyHold(f *testing.F) {
	v, err := New(Config{Issuer: "https://a.example", Audience: "portal", Leeway: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://a.example", "portal", "", int64(-5), int64(5), int64(0), false)
	f.Add("https://a.example", "other", "portal", int64(0), int64(0), int64(1), true)
	f.Add("https://b.example", "portal", "", int64(-1), int64(1), int64(1), true)
	f.Fuzz(func(t *testing.T, issuer, first, second string, iat, exp, nbf int64, hasNotBefore bool) {
		now := time.Now()
		at := func(seconds int64) int64 { return now.Unix() + seconds%100 }
		c := &claims{
			issuer: []byte(issuer), audiences: [maxAudiences][]byte{[]byte(first), []byte(second)}, n: 2,
			issuedAt: at(iat), expiresAt: at(exp),
		}
		if hasNotBefore {
			c.notBefore = at(nbf)
		}
		// The validator looks at the clock a little later.
		if v.plainlyHold(c, now) && v.plainlyHold(c, time.Now().Add(time.Millisecond)) && v.validator.Validate(c) != nil {
			t.Errorf("golang-jwt refuses %+v", c)
		}
	})
}

// TestHasControl tries every byte at every place: the short cut looks at eight
// of them at a time.
func TestHasControl(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := bytes.Repeat([]byte{'a'}, length)
				text[at] = byte(c)
				if got, want := hasControl(text), bytes.ContainsFunc(text, unicode.IsControl); got != want {
					t.Fatalf("hasControl(%q) = %t, want %t", text, got, want)
				}
			}
		}
	}
	for _, text := range []string{"\u0085", "aaaaaaa\u0085", "é\x7f", "aaaaaaaé\x00", "éééééééé"} {
		if got, want := hasControl([]byte(text)), bytes.ContainsFunc([]byte(text), unicode.IsControl); got != want {
			t.Errorf("hasControl(%q) = %t, want %t", text, got, want)
		}
	}
}

// decodeSlowly is what decodeBase64 must do.
func decodeSlowly(text string) ([]byte, bool) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// It skips line breaks.
	return decoded, err == nil && base64.RawURLEncoding.EncodedLen(len(decoded)) == len(text)
}

func compareDecoders(t *testing.T, text string) {
	t.Helper()
	// Nothing may be written beyond what was decoded.
	dst := bytes.Repeat([]byte{0xa5}, len(text)+8)
	want, wantOK := decodeSlowly(text)
	n, ok := decodeBase64(dst, text)
	if ok != wantOK || ok && !bytes.Equal(dst[:n], want) {
		t.Fatalf("decodeBase64(%q) = %x, %t, want %x, %t", text, dst[:n], ok, want, wantOK)
	}
	if bytes.Trim(dst[n:], "\xa5") != nil {
		t.Fatalf("decodeBase64(%q) returns %d and wrote more: %x", text, n, dst)
	}
}

// TestDecodeBase64 tries every byte at every place of texts of every length
// that the decoder treats in another way.
func TestDecodeBase64(t *testing.T) {
	t.Parallel()
	const alphabet = "-AZaz_09BYby18gQwx"
	for length := range 27 {
		for at := range max(1, length) {
			for c := range 256 {
				text := []byte(strings.Repeat(alphabet, 2)[:length])
				if length > 0 {
					text[at] = byte(c)
				}
				compareDecoders(t, string(text))
			}
		}
	}
	for group := range 1 << 16 { // all ends, with their unused bits
		compareDecoders(t, string([]byte{byte(group >> 8), byte(group)}))
		compareDecoders(t, string([]byte{'A', byte(group >> 8), byte(group)}))
	}
}

func FuzzDecodeBase64(f *testing.F) {
	f.Add("")
	f.Add("eyJhbGciOiJFUzI1NiJ9")
	f.Add("AAAAAAAA\nAAAA")
	f.Fuzz(compareDecoders)
}

// TestIsUUID tries every byte at every place.
func TestIsUUID(t *testing.T) {
	t.Parallel()
	const good = "3f6c1a7e-0b52-4d4e-9a53-0123456789af"
	pattern := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for at := range good {
		for c := range 256 {
			text := []byte(good)
			text[at] = byte(c)
			if got, want := isUUID(text), pattern.Match(text); got != want {
				t.Errorf("isUUID(%q) = %t, want %t", text, got, want)
			}
		}
		if isUUID([]byte(good[:at])) || isUUID([]byte(good+good[:at+1])) {
			t.Errorf("a UUID of another length was accepted, %d", at)
		}
	}
}
