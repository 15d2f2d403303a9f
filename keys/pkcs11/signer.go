package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/customersession/customersession/keys/jwk"
)

// A signer signs with one private key of a token.
type signer struct {
	pool   *pool
	key    keyAddress
	public *jwk.Key
}

var (
	errKeyGone        = errors.New("the private key is no longer in the token")
	errWrongSignature = errors.New("the device made a signature that does not verify")
	errWrongKey       = errors.New("the private key in the device is not that of the public key in the manifest")
)

// Sign implements [keys.Signer].
//
// Unlike a signer in this process it verifies every signature. A handle is only a
// number: after a token was restored or replaced, or if the library mixes up its
// sessions, it may mean another key, and verifiers would refuse every token
// although nothing fails here. With RSA one faulty signature would also reveal the
// key. Verifying takes less time than signing in SoftHSM, and little compared to a
// device on a bus or a network.
func (s *signer) Sign(ctx context.Context, signingInput []byte) ([]byte, error) {
	r := newRequest(s.public, signingInput)
	signature, err := do(ctx, s.pool, func(c *connection, session uint) ([]byte, error) {
		key, err := c.key(session, s.key)
		if errors.Is(err, errNoKey) {
			return nil, errKeyGone
		}
		if err != nil {
			return nil, err
		}
		signature, err := c.library().Sign(session, r.mechanism, key, r.data)
		if err == nil && !r.verify(signature) {
			err = errWrongSignature
		}
		return signature, err
	})
	if err != nil {
		return nil, fmt.Errorf("signing in the device: %w", err)
	}
	return signature, nil
}

// prove makes sure that the private key belongs to the public key, which it
// returns. Without a public key it takes that of the device.
//
// It looks the key up again, and a mismatch drops no connection, which may be in
// use for another key.
func (s *signer) prove(ctx context.Context) (*jwk.Key, error) {
	return do(ctx, s.pool, func(c *connection, session uint) (*jwk.Key, error) {
		key, err := c.findKey(session, s.key)
		if err != nil {
			return nil, err
		}
		public, err := c.publicKey(session, key)
		switch {
		case s.public == nil && err != nil:
			return nil, err
		case errors.Is(err, errNoPublicKey):
			public = s.public
		case err != nil:
			return nil, err
		case s.public != nil && !public.Equal(s.public):
			return nil, fmt.Errorf("%w: its thumbprint is %s, and %s in the manifest",
				errWrongKey, public.Thumbprint(), s.public.Thumbprint())
		}
		return public, c.challenge(session, key, public)
	})
}

// challenge has the private key sign a random text that cannot be a JWS Signing
// Input, as it has spaces.
func (c *connection) challenge(session, key uint, public *jwk.Key) error {
	r := newRequest(public, []byte("customersession asks for a proof of possession: "+rand.Text()))
	signature, err := c.library().Sign(session, r.mechanism, key, r.data)
	switch {
	case returned(err, codeKeyTypeInconsistent):
		return fmt.Errorf("%w: %s needs a key of another type", errWrongKey, public.Algorithm())
	case returned(err, codeKeyNotPermitted):
		return fmt.Errorf("%w: the key was made for another use than signing", err)
	case returned(err, codeMechanismInvalid):
		return fmt.Errorf("%w: the device cannot sign with %s", err, public.Algorithm())
	case err != nil:
		return err
	case !r.verify(signature):
		return errWrongKey
	}
	return nil
}

// A request is the input of a signature, and how to verify that.
type request struct {
	mechanism uint
	data      []byte
	verify    func(signature []byte) bool
}

// newRequest keeps no reference to signingInput. If the algorithm begins with a
// hash, only the hash goes to the device.
func newRequest(public *jwk.Key, signingInput []byte) *request {
	sum := sha256.Sum256(signingInput)
	switch key := public.Public().(type) {
	case *ecdsa.PublicKey:
		// The mechanism's signature is R‖S (PKCS #11 v3.1, Section 6.3.12).
		return &request{mechanismECDSA, sum[:], func(signature []byte) bool {
			return verifyRS(key, sum[:], signature)
		}}
	case *rsa.PublicKey:
		return &request{mechanismRSAPKCS, append(digestInfo(), sum[:]...), func(signature []byte) bool {
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		}}
	default:
		key25519, _ := key.(ed25519.PublicKey) // package jwk has no other
		input := bytes.Clone(signingInput)
		return &request{mechanismEdDSA, input, func(signature []byte) bool {
			return ed25519.Verify(key25519, input, signature)
		}}
	}
}

// digestInfo is the DER encoding of a DigestInfo for SHA-256, up to the hash
// (RFC 8017, Section 9.2, Note 1).
func digestInfo() []byte {
	return []byte{
		0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
		0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
	}
}

func verifyRS(key *ecdsa.PublicKey, sum, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, sum, r, s)
}
