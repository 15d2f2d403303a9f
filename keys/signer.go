package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"

	"github.com/customersession/customersession/keys/jwk"
)

// A Signer signs with one private key, in this process or in a device or
// service that the manifest refers to. Implementations are safe for concurrent
// use.
type Signer interface {
	// Sign returns the JWS Signature of the JWS Signing Input (RFC 7515,
	// Section 5.1) in the form of the key's algorithm. For ES256 that is R‖S in
	// 64 bytes (RFC 7518, Section 3.4), not the DER of X.509 and most devices,
	// and S may be above n/2, as a [Ring] normalizes it. Sign neither keeps nor
	// changes signingInput; the caller owns the signature. After an error it is
	// safe to retry.
	Sign(ctx context.Context, signingInput []byte) (signature []byte, err error)
}

// An OpenSigner finds the signer that a manifest refers to by a URI, and makes
// sure that it signs for that public key. [NewRing] calls it once for each such
// key. The error wraps [ErrSignerAway] if the reference may be right, but the
// signer cannot be reached now.
type OpenSigner func(uri string, public *jwk.Key) (Signer, error)

// ErrSignerAway means that a device or service does not answer, or has no such
// token now. That is not the manifest's fault, and may pass.
var ErrSignerAway = errors.New("the signer cannot be reached")

// A lowS makes the ES256 signatures of a signer low-S. A [Ring] wraps every
// ES256 signer in one, so no other code has to.
type lowS struct{ Signer }

// Sign implements [Signer].
func (l lowS) Sign(ctx context.Context, signingInput []byte) ([]byte, error) {
	signature, err := l.Signer.Sign(ctx, signingInput)
	if err == nil {
		jwk.NormalizeS(signature)
	}
	return signature, err
}

var errDER = errors.New("signature is not the DER form of two 256-bit numbers")

// A local is the signer for a private key in the manifest.
type local struct{ *PrivateKey }

// Sign implements [Signer]. It never waits, so it ignores the context.
func (l local) Sign(_ context.Context, signingInput []byte) ([]byte, error) {
	return l.sign(signingInput)
}

// sign returns a JWS Signature.
//
// It does not verify the signature, which for ES256 would cost more than making
// it. With RSA one faulty signature reveals the key, so the standard library
// verifies it. With Ed25519 that takes a faulty and a good signature of the
// same input, and no two sessions have the same.
func (k *PrivateKey) sign(signingInput []byte) ([]byte, error) {
	switch key := k.key().(type) {
	case *ecdsa.PrivateKey:
		return signES256(key, signingInput)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, signingInput), nil
	case *rsa.PrivateKey:
		sum := sha256.Sum256(signingInput)
		return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	default:
		return nil, errPrivateKind
	}
}

// signES256 makes the signature of RFC 6979, which needs no randomness, so that a
// bad random source cannot reveal the key.
//
//	> In particular, JWT libraries SHOULD implement these algorithms using
//	> the deterministic approach defined in [RFC6979].
//	(RFC 8725, Section 3.2)
//
// It also takes a fifth less time: crypto/ecdsa mixes in randomness with HMAC on
// SHA-512.
func signES256(key *ecdsa.PrivateKey, signingInput []byte) ([]byte, error) {
	sum := sha256.Sum256(signingInput)
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	rs, ok := fromDER(der)
	if !ok {
		return nil, errDER
	}
	// DER is practically never shorter, so its memory is reused.
	return append(der[:0], rs[:]...), nil
}

// fromDER converts SEQUENCE { INTEGER r, INTEGER s } to R‖S. It accepts only
// DER, numbers from 0 to 2^256 - 1, and no trailing data.
func fromDER(der []byte) (rs [64]byte, ok bool) {
	// With numbers of at most 33 bytes, all lengths are one byte long.
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return rs, false
	}
	rest, ok := integer(rs[:32], der[2:])
	if !ok {
		return rs, false
	}
	rest, ok = integer(rs[32:], rest)
	return rs, ok && len(rest) == 0
}

// integer reads an INTEGER into dst, big-endian and padded with zeros, and
// returns the rest of der.
func integer(dst, der []byte) (rest []byte, ok bool) {
	if len(der) < 3 || der[0] != 0x02 || der[1] == 0 || int(der[1]) > len(der)-2 {
		return nil, false
	}
	n := int(der[1])
	number, rest := der[2:2+n], der[2+n:]
	switch {
	case number[0]&0x80 != 0: // negative
		return nil, false
	case number[0] == 0 && n > 1:
		if number[1]&0x80 == 0 { // not the shortest form
			return nil, false
		}
		number = number[1:]
	}
	if len(number) > len(dst) {
		return nil, false
	}
	copy(dst[len(dst)-len(number):], number)
	return rest, true
}
