package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// errPrivateSyntax replaces the errors of decoders, which may quote their
// input.
var errPrivateSyntax = errors.New("private key is not a JWK with exactly the members of its type, in canonical base64url")

// A publicJWK has the members that a private JWK shares with the public one.
type publicJWK struct {
	Curve string `json:"crv,omitempty"`
	Type  string `json:"kty"`
	X     string `json:"x,omitempty"`
	Y     string `json:"y,omitempty"`
	N     string `json:"n,omitempty"`
	E     string `json:"e,omitempty"`
}

// A privateJWK is a private key as it is in a manifest (RFC 7518, Sections
// 6.2.2 and 6.3.2; RFC 8037, Section 2).
type privateJWK struct {
	publicJWK

	D  string `json:"d"`
	P  string `json:"p,omitempty"`
	Q  string `json:"q,omitempty"`
	DP string `json:"dp,omitempty"`
	DQ string `json:"dq,omitempty"`
	QI string `json:"qi,omitempty"`

	Algorithm string `json:"alg,omitempty"`
	ID        string `json:"kid,omitempty"`
	Use       string `json:"use,omitempty"`
}

// parsePrivate reads the private JWK that belongs to the public key. Its
// errors quote nothing of data.
func parsePrivate(data []byte, public *jwk.Key) (*PrivateKey, error) {
	var j privateJWK
	if ijson.Unmarshal(data, &j) != nil {
		return nil, errPrivateSyntax
	}
	want := describe(public)
	if j.publicJWK != want.publicJWK ||
		j.Algorithm != "" && j.Algorithm != want.Algorithm ||
		j.ID != "" && j.ID != want.ID ||
		j.Use != "" && j.Use != want.Use {
		return nil, errPrivateMismatch
	}
	key, err := j.key(public.Public())
	if err != nil {
		return nil, err
	}
	private, err := newPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if !private.public.Equal(public) {
		return nil, errPrivateMismatch
	}
	return private, nil
}

// describe returns the members of a JWK that describe the public key.
func describe(public *jwk.Key) privateJWK {
	var j privateJWK
	if err := json.Unmarshal(public.AppendJSON(nil), &j); err != nil {
		panic("keys: a JWK of our own is not JSON: " + err.Error())
	}
	return j
}

func (j *privateJWK) key(public crypto.PublicKey) (crypto.Signer, error) {
	d, err := decode(j.D)
	if err != nil {
		return nil, err
	}
	rsaPublic, isRSA := public.(*rsa.PublicKey)
	if isRSA {
		return j.rsaKey(rsaPublic, d)
	}
	if j.P != "" || j.Q != "" || j.DP != "" || j.DQ != "" || j.QI != "" {
		return nil, errPrivateSyntax
	}
	if _, ok := public.(ed25519.PublicKey); ok {
		if len(d) != ed25519.SeedSize {
			return nil, errPrivateSyntax
		}
		return ed25519.NewKeyFromSeed(d), nil
	}
	// "The length of this octet string MUST be ceiling(log-base-2(n)/8)
	// octets" (RFC 7518, Section 6.2.2.1), which this demands as well.
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return nil, errPrivateUnsound
	}
	return key, nil
}

func (j *privateJWK) rsaKey(public *rsa.PublicKey, d []byte) (crypto.Signer, error) {
	numbers := [6]*big.Int{}
	for i, text := range []string{j.D, j.P, j.Q, j.DP, j.DQ, j.QI} {
		b, err := decode(text)
		// Base64urlUInt has no leading zero octets (RFC 7518, Section 2).
		if err != nil || b[0] == 0 || len(b) > public.Size() {
			return nil, errPrivateSyntax
		}
		numbers[i] = new(big.Int).SetBytes(b)
	}
	key := &rsa.PrivateKey{
		PublicKey: *public,
		D:         new(big.Int).SetBytes(d),
		Primes:    numbers[1:3],
	}
	if err := checkRSA(key); err != nil {
		return nil, err
	}
	c := &key.Precomputed
	if c.Dp.Cmp(numbers[3]) != 0 || c.Dq.Cmp(numbers[4]) != 0 || c.Qinv.Cmp(numbers[5]) != 0 {
		return nil, errPrivateUnsound
	}
	return key, nil
}

// appendJWK appends the key as a private JWK.
func (k *PrivateKey) appendJWK(dst []byte) []byte {
	j := describe(k.public)
	switch key := k.key().(type) {
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			panic("keys: a checked private key became unsound")
		}
		j.D = encode(d)
	case ed25519.PrivateKey:
		j.D = encode(key.Seed())
	case *rsa.PrivateKey:
		j.D = encode(key.D.Bytes())
		j.P = encode(key.Primes[0].Bytes())
		j.Q = encode(key.Primes[1].Bytes())
		j.DP = encode(key.Precomputed.Dp.Bytes())
		j.DQ = encode(key.Precomputed.Dq.Bytes())
		j.QI = encode(key.Precomputed.Qinv.Bytes())
	}
	text, err := json.Marshal(&j)
	if err != nil {
		panic("keys: a struct of strings is not JSON: " + err.Error())
	}
	return append(dst, text...)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads base64url in its only canonical form: no padding, no line
// breaks, unused bits zero (RFC 7515, Section 2; RFC 4648, Section 3.5).
func decode(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodedLen(len(b)) != len(text) {
		return nil, errPrivateSyntax
	}
	return b, nil
}
