package issuer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func ringFor(t testing.TB, algorithm jwk.Algorithm) *keys.Ring {
	t.Helper()
	policy := keys.DefaultPolicy()
	policy.Algorithm = algorithm
	manifest, err := keys.Init(policy, time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(manifest, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// rawSignature returns the primitive of the standard library that a token of
// the algorithm needs, over as many bytes as a token has.
func rawSignature(t testing.TB, algorithm jwk.Algorithm) func() error {
	t.Helper()
	input := make([]byte, 600)
	if algorithm == jwk.EdDSA {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return func() error { ed25519.Sign(key, input); return nil }
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		sum := sha256.Sum256(input)
		_, err := key.Sign(nil, sum[:], crypto.SHA256)
		return err
	}
}

// BenchmarkSign compares making a token with the raw signature in it. The
// machine's speed drifts, so the two take turns.
func BenchmarkSign(b *testing.B) {
	for _, algorithm := range []jwk.Algorithm{jwk.ES256, jwk.EdDSA} {
		b.Run(string(algorithm), func(b *testing.B) {
			key, err := ringFor(b, algorithm).SigningKey(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			raw, now := rawSignature(b, algorithm), time.Now()
			var token, bare time.Duration
			const batch = 50
			for b.Loop() {
				start := time.Now()
				for range batch {
					if _, err := issuer.SignForTest(b.Context(), key, now); err != nil {
						b.Fatal(err)
					}
				}
				middle := time.Now()
				for range batch {
					if err := raw(); err != nil {
						b.Fatal(err)
					}
				}
				token, bare = token+middle.Sub(start), bare+time.Since(middle)
			}
			b.ReportMetric(float64(token.Nanoseconds())/float64(b.N*batch), "ns/token")
			b.ReportMetric(100*float64(token)/float64(bare), "%-of-raw")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// Making a token may cost 12 allocations beside the signature's own.
func TestSignAllocations(t *testing.T) {
	for _, algorithm := range []jwk.Algorithm{jwk.ES256, jwk.EdDSA} {
		key, err := ringFor(t, algorithm).SigningKey(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		raw, now := rawSignature(t, algorithm), time.Now()
		token := testing.AllocsPerRun(200, func() {
			if _, err := issuer.SignForTest(t.Context(), key, now); err != nil {
				t.Fatal(err)
			}
		})
		bare := testing.AllocsPerRun(200, func() {
			if err := raw(); err != nil {
				t.Fatal(err)
			}
		})
		if token-bare > 12 {
			t.Errorf("%s: %v allocations, and the signature alone makes %v", algorithm, token, bare)
		}
		t.Logf("%s: %v allocations, and the signature alone makes %v", algorithm, token, bare)
	}
}

func FuzzDecodeCreate(f *testing.F) {
	for _, seed := range []string{
		`{"customer_id":"` + customerID + `"}`,
		`{"external_customer_id":"a","return_url":"https://shop.example.com","expires_in":60,"member_id":null}`,
		`{"customer_id":"` + customerID + `","customer":{"email":"a@example.com"}}`,
		`{}`, `[]`, `{"a":1,"a":2}`, "{\"customer_id\":\"\x00\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := issuer.DecodeForTest(body); err == nil && !json.Valid(body) {
			t.Errorf("accepted %q, which is not JSON", body)
		}
	})
}
