package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
)

// An Algorithm is the value of an "alg" header parameter (RFC 7515, Section
// 4.1.1) that this module signs and verifies with.
type Algorithm string

// The closed list of algorithms. There is no symmetric one and no "none".
const (
	// ES256 is ECDSA on P-256 with SHA-256 (RFC 7518, Section 3.4).
	ES256 Algorithm = "ES256"
	// EdDSA is Ed25519 (RFC 8037, Section 3.1). RFC 9864 prefers the name
	// "Ed25519", but few verifiers know it yet.
	EdDSA Algorithm = "EdDSA"
	// RS256 is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, Section 3.3).
	RS256 Algorithm = "RS256"
)

// Algorithms returns the closed list, preferred first.
func Algorithms() []Algorithm {
	return []Algorithm{ES256, EdDSA, RS256}
}

// Known reports whether a is in the closed list.
func (a Algorithm) Known() bool {
	return a == ES256 || a == EdDSA || a == RS256
}

// algorithmOf returns the one algorithm that a public key is for.
func algorithmOf(public any) (Algorithm, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", ErrUnsupported
		}
		return ES256, nil
	case ed25519.PublicKey:
		return EdDSA, nil
	case *rsa.PublicKey:
		return RS256, nil
	default:
		return "", ErrUnsupported
	}
}
