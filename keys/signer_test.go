package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// Signatures out of the specifications, by the keys of the golden manifest.
const (
	rfc7515Payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	// RFC 7515, Appendix A.2.1.
	rs256Input     = "eyJhbGciOiJSUzI1NiJ9." + rfc7515Payload
	rs256Signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	// RFC 7515, Appendix A.3.1.
	es256Input     = "eyJhbGciOiJFUzI1NiJ9." + rfc7515Payload
	es256Signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	// RFC 8037, Appendix A.4.
	edDSAInput     = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	edDSASignature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

func decode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verified checks a JWS Signature with the standard library alone.
func verified(t testing.TB, public crypto.PublicKey, input, signature []byte) bool {
	t.Helper()
	sum := sha256.Sum256(input)
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			t.Fatalf("ES256 signature of %d bytes", len(signature))
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(p, sum[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(p, input, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	default:
		t.Fatalf("public key of type %T", public)
		return false
	}
}

func TestSignVectors(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	for _, tc := range []struct {
		key              int
		input, signature string
		deterministic    bool
	}{
		{retired, rs256Input, rs256Signature, true},
		{current, es256Input, es256Signature, false},
		{next, edDSAInput, edDSASignature, true},
	} {
		k := m.Keys[tc.key]
		t.Run(string(k.Public.Algorithm()), func(t *testing.T) {
			t.Parallel()
			input, want := []byte(tc.input), decode(t, tc.signature)
			if !verified(t, k.Public.Public(), input, want) {
				t.Fatal("the vector does not verify with the key of the manifest")
			}
			got, err := k.Private.Sign(t.Context(), input)
			if err != nil {
				t.Fatal(err)
			}
			if !verified(t, k.Public.Public(), input, got) {
				t.Error("signature does not verify")
			}
			if tc.deterministic && !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			if string(input) != tc.input {
				t.Error("signing changed its input")
			}
		})
	}
}

func TestGenerateKey(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			k, err := keys.GenerateKey(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if k.Public().Algorithm() != algorithm || k.Public().ID() != k.Public().Thumbprint() {
				t.Errorf("got a key for %s with ID %s", k.Public().Algorithm(), k.Public().ID())
			}
			// Many signatures: one in 256 has a short r or s.
			for i := range byte(200) {
				input := []byte{i}
				signature, err := k.Sign(t.Context(), input)
				if err != nil {
					t.Fatal(err)
				}
				if len(signature) != k.Public().SignatureSize() || !verified(t, k.Public().Public(), input, signature) {
					t.Fatalf("signature %x does not verify", signature)
				}
				if algorithm == jwk.RS256 {
					break
				}
			}
		})
	}
	if _, err := keys.GenerateKey("HS256"); err == nil {
		t.Error("HS256: no error")
	}
}

func TestNewPrivateKeyRefuses(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mixed := *p256
	mixed.PublicKey = other.PublicKey
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Clone(ed)
	wrong[40] ^= 1
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	exponent := *good
	exponent.E = 3
	damaged := rsa.PrivateKey{PublicKey: good.PublicKey, D: new(big.Int).Add(good.D, big.NewInt(2)), Primes: good.Primes}
	one := rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D, Primes: good.Primes[:1]}
	for _, tc := range []struct {
		name string
		key  crypto.Signer
	}{
		{"nil", nil},
		{"nil ECDSA", (*ecdsa.PrivateKey)(nil)},
		{"P-384", p384},
		{"ECDSA, public half of another", &mixed},
		{"Ed25519, public half of another", ed25519.PrivateKey(wrong)},
		{"Ed25519, short", ed[:32]},
		{"nil RSA", (*rsa.PrivateKey)(nil)},
		{"RSA, another exponent", &exponent},
		{"RSA, another d", &damaged},
		{"RSA of one prime", &one},
		{"another type", struct{ crypto.Signer }{p256}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if k, err := keys.NewPrivateKey(tc.key); err == nil {
				t.Errorf("got a key %s and no error", k.Public().ID())
			}
		})
	}
}

// TestFromDER compares with encoding/asn1 and changes every byte.
func TestFromDER(t *testing.T) {
	t.Parallel()
	limit := new(big.Int).Lsh(big.NewInt(1), 256)
	most := new(big.Int).Sub(limit, big.NewInt(1))
	half := new(big.Int).Rsh(limit, 1)
	numbers := []*big.Int{
		big.NewInt(0), big.NewInt(1), big.NewInt(0x7f), big.NewInt(0x80), big.NewInt(0xff00), half, new(big.Int).Sub(half, big.NewInt(1)), most,
	}
	for _, r := range numbers {
		for _, s := range numbers {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			want := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			got, ok := keys.FromDER(der)
			if !ok || !bytes.Equal(got[:], want) {
				t.Errorf("%x: got %x, %v, want %x", der, got, ok, want)
			}
		}
	}
	for _, n := range []*big.Int{limit, big.NewInt(-1), new(big.Int).Neg(most)} {
		for _, pair := range [][2]*big.Int{{n, most}, {most, n}} {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{pair[0], pair[1]})
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := keys.FromDER(der); ok {
				t.Errorf("%x: got %x", der, got)
			}
		}
	}
}

func FuzzFromDER(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 7, 2, 2, 0, 1, 2, 1, 1})
	f.Add([]byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 8, 2, 1, 1, 2, 1, 1, 5, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		rs, ok := keys.FromDER(der)
		if !ok {
			return
		}
		again, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])})
		if err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x was read, which is not the DER form %x", der, again)
		}
	})
}

// BenchmarkSign stands beside the primitive of the standard library, hash
// included, with a key of the same kind: the difference is what we add.
func BenchmarkSign(b *testing.B) {
	ec, errEC := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, errEd := ed25519.GenerateKey(rand.Reader)
	rs, errRS := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(errEC, errEd, errRS); err != nil {
		b.Fatal(err)
	}
	input := bytes.Repeat([]byte("x"), 450) // about as long as a session's
	for _, bc := range []struct {
		name string
		key  crypto.Signer
		raw  func() ([]byte, error)
	}{
		{"ES256", ec, func() ([]byte, error) {
			sum := sha256.Sum256(input)
			return ecdsa.SignASN1(rand.Reader, ec, sum[:])
		}},
		{"EdDSA", ed, func() ([]byte, error) { return ed25519.Sign(ed, input), nil }},
		{"RS256", rs, func() ([]byte, error) {
			sum := sha256.Sum256(input)
			return rsa.SignPKCS1v15(nil, rs, crypto.SHA256, sum[:])
		}},
	} {
		private, err := keys.NewPrivateKey(bc.key)
		if err != nil {
			b.Fatal(err)
		}
		ctx := context.Background()
		for name, sign := range map[string]func() ([]byte, error){
			"ours": func() ([]byte, error) { return private.Sign(ctx, input) },
			"raw":  bc.raw,
		} {
			b.Run(bc.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := sign(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestLowS signs with a key of the manifest, and with devices that always
// return one of the two spellings.
func TestLowS(t *testing.T) {
	t.Parallel()
	private, err := keys.GenerateKey(jwk.ES256)
	if err != nil {
		t.Fatal(err)
	}
	local, err := keys.Init(keys.DefaultPolicy(), time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := keys.Init(keys.DefaultPolicy(), time.Now(), true, keys.Key{Signer: "kms:1", Public: private.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		manifest *keys.Manifest
		open     keys.OpenSigner
	}{
		"in the manifest":       {local, nil},
		"device that is high-S": {remote, func(string, *jwk.Key) (keys.Signer, error) { return oneSpelling{private, true}, nil }},
		"device that is low-S":  {remote, func(string, *jwk.Key) (keys.Signer, error) { return oneSpelling{private, false}, nil }},
		"device that is back": {remote, func() keys.OpenSigner {
			away := true
			return func(string, *jwk.Key) (keys.Signer, error) {
				if away {
					away = false
					return nil, keys.ErrSignerAway
				}
				return oneSpelling{private, true}, nil
			}
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ring, err := keys.NewRing(tc.manifest, tc.open)
			if err != nil {
				t.Fatal(err)
			}
			key, err := ring.SigningKey(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if key.Local != (tc.open == nil) {
				t.Errorf("Local is %v", key.Local)
			}
			for i := range byte(64) {
				input := []byte{i}
				signature, err := key.Signer.Sign(t.Context(), input)
				if err != nil {
					t.Fatal(err)
				}
				if !jwk.IsLowS(signature) || !verified(t, key.Public.Public(), input, signature) {
					t.Fatalf("signature %x is high-S or does not verify", signature)
				}
			}
		})
	}
}

// oneSpelling is a device that makes only high-S or only low-S signatures.
type oneSpelling struct {
	private *keys.PrivateKey
	high    bool
}

func (o oneSpelling) Sign(ctx context.Context, input []byte) ([]byte, error) {
	signature, err := o.private.Sign(ctx, input)
	if err == nil && jwk.IsLowS(signature) == o.high {
		s := new(big.Int).SetBytes(signature[32:])
		s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	}
	return signature, err
}
