package verify

import (
	"bytes"
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
		at := func(seconds int64) jwt.NumericDate {
			return jwt.NumericDate{Time: now.Add(time.Duration(seconds%100) * time.Second)}
		}
		c := &claims{
			session:  Session{Issuer: issuer, Audience: []string{first, second}},
			issuedAt: at(iat), expiresAt: at(exp), nbf: at(nbf), hasNotBefore: hasNotBefore,
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
