package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// rawVerification returns what the standard library must do for the same
// bytes: hash, and check the signature. Nothing is decoded or parsed.
func rawVerification(t testing.TB, s *signer, token string) func() error {
	t.Helper()
	cut := strings.LastIndexByte(token, '.')
	input := []byte(token[:cut])
	signature, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("bad signature")
	switch public := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		return func() error {
			sum := sha256.Sum256(input)
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			if !ecdsa.Verify(public, sum[:], r, s) {
				return failed
			}
			return nil
		}
	case ed25519.PublicKey:
		return func() error {
			if !ed25519.Verify(public, input, signature) {
				return failed
			}
			return nil
		}
	case *rsa.PublicKey:
		return func() error {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature)
		}
	default:
		t.Fatalf("key is %T", public)
		return nil
	}
}

func uncached(t testing.TB, s *signer) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{
		Issuer: testIssuer, Audience: testAudience, KeySource: s, Algorithms: jwk.Algorithms(), CacheSize: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// BenchmarkVerifyNew compares a token seen for the first time with the raw
// primitive on the same bytes. The machine's speed drifts, so the two take
// turns.
func BenchmarkVerifyNew(b *testing.B) {
	for _, algorithm := range jwk.Algorithms() {
		b.Run(string(algorithm), func(b *testing.B) {
			s := newSigner(b, algorithm)
			v := uncached(b, s)
			token := s.token(b, s.header(), payload())
			raw := rawVerification(b, s, token)
			const batch = 50
			var ours, bare time.Duration
			for b.Loop() {
				start := time.Now()
				for range batch {
					if _, err := v.Verify(b.Context(), token); err != nil {
						b.Fatal(err)
					}
				}
				middle := time.Now()
				for range batch {
					if err := raw(); err != nil {
						b.Fatal(err)
					}
				}
				ours, bare = ours+middle.Sub(start), bare+time.Since(middle)
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*batch), "ns/token")
			b.ReportMetric(100*float64(ours)/float64(bare), "%-of-raw")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkVerifyAgain is a token that the cache knows, one of as many as it
// holds, on all cores.
func BenchmarkVerifyAgain(b *testing.B) {
	const size = 4096 // the default
	s := newSigner(b, jwk.EdDSA)
	v := newVerifier(b, s)
	tokens := many(b, s, size)
	for _, token := range tokens {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := v.Verify(b.Context(), tokens[i%size]); err != nil {
				b.Error(err)
			}
		}
	})
}

// following returns a verifier that follows a feed with that many entries, with its
// issuer, and one that follows nothing.
func following(t testing.TB, entries, cacheSize int) (issuer *verifytest.Issuer, follows, ignores *verify.Verifier) {
	t.Helper()
	issuer = verifytest.NewIssuer(t, verifytest.Config{})
	for i := range entries {
		issuer.RevokeCustomer(strconv.Itoa(i))
	}
	both := [2]*verify.Verifier{}
	for i, maxAge := range []time.Duration{0, -1} {
		config := issuer.Config()
		config.CacheSize, config.MaxRevocationAge = cacheSize, maxAge
		v, err := verify.New(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		if err := v.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		both[i] = v
	}
	return issuer, both[0], both[1]
}

// BenchmarkVerifyNewFollowing compares a token seen for the first time with 10,000
// revocations in force with one where nothing is followed. The two take turns.
func BenchmarkVerifyNewFollowing(b *testing.B) {
	issuer, follows, ignores := following(b, 10_000, -1)
	token := issuer.Token(verifytest.TokenSpec{Lifetime: 24 * time.Hour, Claims: map[string]any{"client_id": "shop"}})
	const batch = 4
	run := func(v *verify.Verifier) time.Duration {
		start := time.Now()
		for range batch {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
	// The shortest time is the one that nothing else on the machine was a part of.
	ours, bare := time.Hour, time.Hour
	for b.Loop() {
		ours, bare = min(ours, run(follows)), min(bare, run(ignores))
	}
	b.ReportMetric(float64(ours.Nanoseconds())/batch, "ns/token")
	b.ReportMetric(float64((ours-bare).Nanoseconds())/batch, "ns-more")
	b.ReportMetric(100*float64(ours)/float64(bare), "%-of-not-following")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkVerifyAgainFollowing is a token that the cache knows, with 10,000
// revocations in force.
func BenchmarkVerifyAgainFollowing(b *testing.B) {
	issuer, follows, ignores := following(b, 10_000, 0)
	for name, v := range map[string]*verify.Verifier{"following": follows, "not": ignores} {
		b.Run(name, func(b *testing.B) {
			token := issuer.Token(verifytest.TokenSpec{Lifetime: 24 * time.Hour, Claims: map[string]any{"client_id": "shop"}})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyGarbage is what anyone can send.
func BenchmarkVerifyGarbage(b *testing.B) {
	s := newSigner(b, jwk.ES256)
	v := newVerifier(b, s)
	good := s.token(b, s.header(), payload())
	for name, token := range map[string]string{
		"empty": "", "oversized": strings.Repeat("a", 1<<20), "no-dots": strings.Repeat("a", 700),
		"dots": strings.Repeat(".", 700), "bad-header": strings.Replace(good, "e", "f", 1),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// A new token costs a bounded number of allocations beside those of its
// signature check, a known one none, and no byte either, with the cache full.
func TestVerifyAllocations(t *testing.T) {
	const size = 256
	for _, algorithm := range jwk.Algorithms() {
		s := newSigner(t, algorithm)
		v, err := verify.New(verify.Config{
			Issuer: testIssuer, Audience: testAudience, KeySource: s, Algorithms: jwk.Algorithms(), CacheSize: size,
		})
		if err != nil {
			t.Fatal(err)
		}
		tokens := many(t, s, size)
		raw := rawVerification(t, s, tokens[0])
		bare, _ := allocated(func() {
			for range size {
				if err := raw(); err != nil {
					t.Fatal(err)
				}
			}
		})
		verifyAll := func() {
			for _, token := range tokens {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
		}
		if ours, _ := allocated(verifyAll); (ours-bare)/size > 30 {
			t.Errorf("%s: a new token makes %d allocations, and the primitive alone %d", algorithm, ours/size, bare/size)
		}
		// The runtime may allocate a little of its own in the meantime.
		if objects, bytes := allocated(verifyAll); objects >= size || bytes >= size {
			t.Errorf("%s: %d known tokens make %d allocations of %d bytes", algorithm, size, objects, bytes)
		}
	}
}

// Looking up whether a known token's session has ended allocates nothing, with 10,000
// revocations in force.
func TestVerifyAllocationsFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, follows, _ := following(t, 10_000, 0)
		token := longToken(issuer, map[string]any{"client_id": "shop"})
		const often = 100_000
		verifyOften := func() {
			for range often {
				if _, err := follows.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
		}
		verifyOften()
		time.Sleep(10 * time.Second) // in the middle of a request
		// The runtime may allocate a little of its own in the meantime.
		if objects, bytes := allocated(verifyOften); objects >= often || bytes >= often {
			t.Errorf("%d known tokens make %d allocations of %d bytes", often, objects, bytes)
		}
	})
}

// A request with a known token makes a few allocations: the copy of the request, its
// context with the session and the token, and the session's lists. A cookie is
// parsed as well.
func TestMiddlewareAllocations(t *testing.T) {
	s := newSigner(t, jwk.EdDSA)
	v := newVerifier(t, s)
	token := s.token(t, s.header(), payload())
	for _, tc := range []struct {
		config      verify.MiddlewareConfig
		name, value string
		most        float64
	}{
		{verify.MiddlewareConfig{}, "Authorization", "Bearer " + token, 5},
		{verify.MiddlewareConfig{Cookie: true}, "Cookie", cookieName + "=" + token, 8},
	} {
		handler := v.NewMiddleware(tc.config)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, ok := verify.Token(r.Context()); !ok {
				t.Error("the context has no token")
			}
		}))
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set(tc.name, tc.value)
		if got := testing.AllocsPerRun(1000, func() { handler.ServeHTTP(w, r) }); got > tc.most {
			t.Errorf("%s: a request makes %v allocations, want %v at most", tc.name, got, tc.most)
		}
	}
}

// allocated returns how many objects and bytes work allocates.
func allocated(work func()) (objects, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}
