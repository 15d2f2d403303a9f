package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"github.com/customersession/customersession/keys/jwk"
)

// A signer is a private key of an issuer or of an attacker.
type signer struct {
	private crypto.Signer
	key     *jwk.Key
	// published is guarded by the issuer's mutex.
	published bool
}

// must returns value. An error is a bug in this package, or a machine without
// randomness.
func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("verifytest: %v", err))
	}
	return value
}

// generate makes a signer with a new key for an algorithm of the closed list.
func generate(a jwk.Algorithm) *signer {
	var private crypto.Signer
	switch a {
	case jwk.EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		private = must(key, err)
	case jwk.RS256:
		private = must(rsa.GenerateKey(rand.Reader, 2048))
	case jwk.ES256:
		private = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	default:
		panic(fmt.Sprintf("verifytest: algorithm %q is not one of %q", string(a), jwk.Algorithms()))
	}
	return &signer{private: private, key: must(jwk.New(private.Public()))}
}

// sign returns the signature of input in the form that a JWS holds.
func (s *signer) sign(input string) []byte {
	if s.key.Algorithm() == jwk.EdDSA {
		return must(s.private.Sign(rand.Reader, []byte(input), crypto.Hash(0)))
	}
	sum := sha256.Sum256([]byte(input))
	signature := must(s.private.Sign(rand.Reader, sum[:], crypto.SHA256))
	if s.key.Algorithm() == jwk.ES256 {
		signature = join(integers(signature))
		jwk.NormalizeS(signature)
	}
	return signature
}

// integers reads an ECDSA signature as [crypto.Signer] returns it (RFC 3279,
// Section 2.2.3).
func integers(der []byte) (r, s *big.Int) {
	var pair struct{ R, S *big.Int }
	must(asn1.Unmarshal(der, &pair))
	return pair.R, pair.S
}

// join writes an ES256 signature (RFC 7518, Section 3.4).
func join(r, s *big.Int) []byte {
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

// Publish makes a new key, adds it to the JWK Set and returns its ID. The key
// does not sign until [Issuer.Activate].
func (i *Issuer) Publish(a jwk.Algorithm) (keyID string) {
	s := generate(a)
	s.published = true
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signers = append(i.signers, s)
	return s.key.ID()
}

// Activate makes a key sign, whether or not it is published.
func (i *Issuer) Activate(keyID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.active = i.signer(keyID)
}

// Remove removes a key from the JWK Set. The issuer can still sign with it, to
// test that such tokens are refused.
func (i *Issuer) Remove(keyID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signer(keyID).published = false
}

// KeyID returns the ID of the key that signs.
func (i *Issuer) KeyID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.active.key.ID()
}

// Keys returns the published keys, oldest first.
func (i *Issuer) Keys() []*jwk.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	var keys []*jwk.Key
	for _, s := range i.signers {
		if s.published {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// JWKSet returns the JSON document that the issuer publishes.
func (i *Issuer) JWKSet() []byte {
	return must(jwk.NewSet(i.Keys()...)).AppendJSON(nil)
}

// signer returns a key by its ID; i.mu is held.
func (i *Issuer) signer(keyID string) *signer {
	at := slices.IndexFunc(i.signers, func(s *signer) bool { return s.key.ID() == keyID })
	if at < 0 {
		panic(fmt.Sprintf("verifytest: the issuer never had a key %q", keyID))
	}
	return i.signers[at]
}

// signerNamed is like signer, but acquires i.mu.
func (i *Issuer) signerNamed(keyID string) *signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.signer(keyID)
}

// signerFor returns the active key if its algorithm is a or a is empty, else the
// first published key for a, or nil.
func (i *Issuer) signerFor(a jwk.Algorithm) *signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if a == "" || i.active.key.Algorithm() == a {
		return i.active
	}
	for _, s := range i.signers {
		if s.published && s.key.Algorithm() == a {
			return s
		}
	}
	return nil
}

// attacker returns the key of an attacker who poses as the issuer.
func (i *Issuer) attacker(a jwk.Algorithm) *signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.attackers[a] == nil {
		i.attackers[a] = generate(a)
	}
	return i.attackers[a]
}
