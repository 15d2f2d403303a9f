package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math/big"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Parse reads one public JWK and demands what a verifier must: a supported key
// type, curve and algorithm, no private member, "use" and "key_ops" that allow
// verifying, a sound key, and a "kid" that is its thumbprint. It ignores other
// members. The error is one of this package or of package ijson.
func Parse(data []byte) (*Key, error) {
	var m members
	if err := m.read(data); err != nil {
		return nil, err
	}
	return m.key()
}

// ParseForeign reads the JWK of another issuer. It demands what [Parse] does,
// with two exceptions: the key may have any "kid", or none and then gets its
// thumbprint, and data may be a private JWK, whose public half is read; private
// reports that. Neither the key nor the error holds a private part.
func ParseForeign(data []byte) (k *Key, private bool, err error) {
	var m members
	if err := m.read(data); err != nil {
		return nil, false, err
	}
	if m.private {
		m.cannotVerify = false // its "key_ops" are about the private half
	}
	if m.kty == "oct" {
		return nil, true, ErrPrivate
	}
	if k, err = m.unnamed(); err != nil {
		return nil, m.private, err
	}
	if m.kid != "" {
		k.id = m.kid
	}
	return k, m.private, nil
}

// members are the relevant members of a JWK (RFC 7517, Section 4, RFC 7518,
// Section 6, RFC 8037, Section 2).
type members struct {
	kty, crv, x, y, n, e string
	alg, use, kid        string
	hasAlg, hasUse       bool
	cannotVerify         bool
	private              bool
}

func (m *members) read(data []byte) error {
	_, err := ijson.Members(data, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		var ok bool
		switch string(name) {
		case "kty":
			m.kty, ok = text(v)
		case "crv":
			m.crv, ok = text(v)
		case "x":
			m.x, ok = text(v)
		case "y":
			m.y, ok = text(v)
		case "n":
			m.n, ok = text(v)
		case "e":
			m.e, ok = text(v)
		case "kid":
			m.kid, ok = text(v)
		case "alg":
			m.alg, ok = text(v)
			m.hasAlg = true
		case "use":
			m.use, ok = text(v)
			m.hasUse = true
		case "key_ops":
			m.cannotVerify, ok = cannotVerify(v)
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
			m.private, ok = true, true
		default:
			ok = true
		}
		if !ok {
			return ErrMalformed
		}
		return nil
	})
	return err
}

func text(v ijson.Value) (string, bool) {
	b, ok := v.Text()
	return string(b), ok
}

// cannotVerify reports whether "key_ops" lacks "verify" (RFC 7517, Section
// 4.3); ok is false if it is not a list of strings.
func cannotVerify(v ijson.Value) (cannot, ok bool) {
	cannot = true
	ok = v.Elements(func(e ijson.Value) bool {
		operation, isText := e.Text()
		if string(operation) == "verify" {
			cannot = false
		}
		return isText
	})
	return cannot, ok
}

// key returns the key. It checks what the key claims to be before what it is.
func (m *members) key() (*Key, error) {
	if m.private || m.kty == "oct" {
		return nil, ErrPrivate
	}
	k, err := m.unnamed()
	if err == nil && m.kid != k.id {
		return nil, ErrThumbprint
	}
	return k, err
}

// unnamed returns the key under its thumbprint, whatever its "kid" is.
func (m *members) unnamed() (*Key, error) {
	switch {
	case m.hasUse && m.use != "sig", m.cannotVerify:
		return nil, ErrNotForVerify
	case m.hasAlg && !Algorithm(m.alg).Known():
		return nil, ErrUnsupported
	}
	public, err := m.public()
	if err != nil {
		return nil, err
	}
	k, err := New(public)
	if err == nil && m.hasAlg && Algorithm(m.alg) != k.algorithm {
		return nil, ErrContradiction
	}
	return k, err
}

func (m *members) public() (crypto.PublicKey, error) {
	switch {
	case m.kty == "EC" && m.crv == "P-256":
		return m.ec()
	case m.kty == "OKP" && m.crv == "Ed25519":
		x, err := decode(m.x)
		return ed25519.PublicKey(x), err
	case m.kty == "RSA":
		return m.rsa()
	default:
		return nil, ErrUnsupported
	}
}

func (m *members) ec() (crypto.PublicKey, error) {
	x, err := decode(m.x)
	if err != nil {
		return nil, err
	}
	y, err := decode(m.y)
	if err != nil {
		return nil, err
	}
	// "The length of this octet string MUST be the full size of a coordinate"
	// (RFC 7518, Section 6.2.1.2).
	if len(x) != 32 || len(y) != 32 {
		return nil, ErrPoint
	}
	point := append(append([]byte{4}, x...), y...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, ErrPoint
	}
	return public, nil
}

func (m *members) rsa() (crypto.PublicKey, error) {
	n, err := decode(m.n)
	if err != nil {
		return nil, err
	}
	// Base64urlUInt has no leading zero octets (RFC 7518, Section 2).
	if n[0] == 0 {
		return nil, ErrMalformed
	}
	if m.e != "AQAB" {
		return nil, ErrRSA
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}, nil
}

// decode reads base64url in its only canonical form: no padding, no line
// breaks, unused bits zero (RFC 7515, Section 2; RFC 4648, Section 3.5).
func decode(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodedLen(len(b)) != len(text) {
		return nil, ErrMalformed
	}
	return b, nil
}
