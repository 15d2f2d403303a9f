package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/customersession/customersession/keys/jwk"
)

// A PrivateKey is a private key of a manifest, with which a [Ring] signs in this
// process. It is immutable and safe for concurrent use. Printed, logged or
// marshaled it is "[redacted]".
type PrivateKey struct {
	redacted

	// key is a function because package fmt calls no methods on values in
	// unexported fields, but prints their contents. Of a function it prints
	// only the address.
	key    func() crypto.Signer
	public *jwk.Key // named by its thumbprint
}

// rsaBits is the size of new RSA keys. A bigger one would make each portal link
// longer (by 171 characters for 3072 bits), and 2048 bits are accepted until
// 2030 (NIST SP 800-57 Part 1, Table 4); a key is replaced long before.
const rsaBits = 2048

var (
	errPrivateKind     = errors.New("private key is not an *ecdsa.PrivateKey, ed25519.PrivateKey or *rsa.PrivateKey")
	errPrivateUnsound  = errors.New("private key is damaged: its parts contradict each other")
	errPrivateMismatch = errors.New("private key does not belong to the public one")
)

// newPrivateKey returns the key for an *[ecdsa.PrivateKey] on P-256, an
// [ed25519.PrivateKey] or an *[rsa.PrivateKey] of two primes, which the caller
// must not change afterwards. The error is one of package jwk if the public
// half is at fault.
func newPrivateKey(key crypto.Signer) (*PrivateKey, error) {
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		err = checkECDSA(k)
	case ed25519.PrivateKey:
		err = checkEd25519(k)
	case *rsa.PrivateKey:
		err = checkRSA(k)
	default:
		err = errPrivateKind
	}
	if err != nil {
		return nil, err
	}
	public, err := jwk.New(key.Public())
	if err != nil {
		return nil, err
	}
	return &PrivateKey{key: func() crypto.Signer { return key }, public: public}, nil
}

// The checks hide the causes of their errors, as an error of the standard library
// about a private key might quote it.

func checkECDSA(k *ecdsa.PrivateKey) error {
	if k == nil || k.Curve != elliptic.P256() {
		return jwk.ErrUnsupported
	}
	d, err := k.Bytes()
	if err != nil {
		return errPrivateUnsound
	}
	same, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil || !same.PublicKey.Equal(&k.PublicKey) {
		return errPrivateUnsound
	}
	return nil
}

func checkEd25519(k ed25519.PrivateKey) error {
	if len(k) != ed25519.PrivateKeySize || !k.Equal(ed25519.NewKeyFromSeed(k.Seed())) {
		return errPrivateUnsound
	}
	return nil
}

func checkRSA(k *rsa.PrivateKey) error {
	if k == nil || len(k.Primes) != 2 {
		return errPrivateUnsound
	}
	// The size first, as the time that Validate takes grows with it.
	if _, err := jwk.New(&k.PublicKey); err != nil {
		return err
	}
	if k.Validate() != nil {
		return errPrivateUnsound
	}
	k.Precompute()
	return nil
}

// generateKey makes a new private key for the algorithm: P-256, Ed25519, or
// RSA of 2048 bits.
func generateKey(algorithm jwk.Algorithm) (*PrivateKey, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case jwk.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwk.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jwk.RS256:
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("algorithm %q is none of %v", algorithm, jwk.Algorithms())
	}
	if err != nil {
		return nil, fmt.Errorf("generating key: %w", err)
	}
	return newPrivateKey(key)
}

// redacted hides the struct that embeds it from printing. Its methods have
// value receivers, so that a copy of the struct is hidden as well.
type redacted struct{}

const redaction = "[redacted]"

// Format writes "[redacted]" for every verb.
func (redacted) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redaction) // a fmt.State records its own errors
}

// LogValue returns "[redacted]".
func (redacted) LogValue() slog.Value { return slog.StringValue(redaction) }

// MarshalText returns "[redacted]": only [Manifest.Encode] writes the key.
func (redacted) MarshalText() ([]byte, error) { return []byte(redaction), nil }
