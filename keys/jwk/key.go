package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// A Key is a sound public key for one algorithm. It is immutable and safe for
// concurrent use.
type Key struct {
	id        string
	algorithm Algorithm
	public    crypto.PublicKey
	size      int
	// required is the text that the thumbprint is the hash of: the members that
	// define the key, in lexicographic order.
	required []byte
}

// New returns the key for an *[ecdsa.PublicKey] on P-256, an
// [ed25519.PublicKey] or an *[rsa.PublicKey]. Its key ID is its thumbprint.
// The error is one of ErrUnsupported, ErrPoint, ErrSmallOrder and ErrRSA.
func New(public crypto.PublicKey) (*Key, error) {
	algorithm, err := algorithmOf(public)
	if err != nil {
		return nil, err
	}
	k := &Key{algorithm: algorithm, public: public}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		err = k.initEC(p)
	case ed25519.PublicKey:
		err = k.initEd25519(p)
	case *rsa.PublicKey:
		err = k.initRSA(p)
	}
	if err != nil {
		return nil, err
	}
	k.id = k.Thumbprint()
	return k, nil
}

func (k *Key) initEC(p *ecdsa.PublicKey) error {
	// 0x04 ‖ x ‖ y; it fails if the point is not on the curve.
	point, err := p.Bytes()
	if err != nil {
		return ErrPoint
	}
	k.size = 64
	k.required = append(k.required, `{"crv":"P-256","kty":"EC","x":"`...)
	k.required = base64.RawURLEncoding.AppendEncode(k.required, point[1:33])
	k.required = append(k.required, `","y":"`...)
	k.required = base64.RawURLEncoding.AppendEncode(k.required, point[33:])
	k.required = append(k.required, `"}`...)
	return nil
}

func (k *Key) initEd25519(p ed25519.PublicKey) error {
	if err := checkEd25519(p); err != nil {
		return err
	}
	k.size = ed25519.SignatureSize
	k.required = append(k.required, `{"crv":"Ed25519","kty":"OKP","x":"`...)
	k.required = base64.RawURLEncoding.AppendEncode(k.required, p)
	k.required = append(k.required, `"}`...)
	return nil
}

func (k *Key) initRSA(p *rsa.PublicKey) error {
	if p.N == nil || p.E != 65537 || p.N.Bit(0) == 0 || p.N.BitLen() < 2048 || p.N.BitLen() > 8192 {
		return ErrRSA
	}
	k.size = p.Size()
	k.required = append(k.required, `{"e":"AQAB","kty":"RSA","n":"`...)
	k.required = base64.RawURLEncoding.AppendEncode(k.required, p.N.Bytes())
	k.required = append(k.required, `"}`...)
	return nil
}

// WithID returns the same key under another key ID. Package verify trusts only
// the thumbprint; this is for keys adopted from another issuer, whose verifiers
// know them by their old ID.
func (k *Key) WithID(id string) *Key {
	other := *k
	other.id = id
	return &other
}

// ID returns the key ID (RFC 7515, Section 4.1.4).
func (k *Key) ID() string { return k.id }

// Algorithm returns the one algorithm the key is for.
func (k *Key) Algorithm() Algorithm { return k.algorithm }

// Public returns the *[ecdsa.PublicKey], [ed25519.PublicKey] or
// *[rsa.PublicKey]. It must not be changed.
func (k *Key) Public() crypto.PublicKey { return k.public }

// SignatureSize returns the length of every signature of the key, in bytes.
func (k *Key) SignatureSize() int { return k.size }

// Equal reports whether both are the same public key, whatever their key IDs.
func (k *Key) Equal(other *Key) bool {
	return string(k.required) == string(other.required)
}

// Thumbprint returns the base64url form of the key's SHA-256 thumbprint (RFC
// 7638, Section 3).
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(k.required)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AppendJSON appends the key as a JWK (RFC 7517, Section 4) to dst, with
// "alg", "kid" and "use".
func (k *Key) AppendJSON(dst []byte) []byte {
	dst = append(dst, k.required[:len(k.required)-1]...)
	dst = append(dst, `,"alg":"`...)
	dst = append(dst, k.algorithm...)
	dst = append(dst, `","kid":`...)
	dst = ijson.AppendString(dst, k.id)
	return append(dst, `,"use":"sig"}`...)
}

// MarshalJSON returns what [Key.AppendJSON] appends.
func (k *Key) MarshalJSON() ([]byte, error) { return k.AppendJSON(nil), nil }
