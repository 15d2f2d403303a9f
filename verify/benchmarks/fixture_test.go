package benchmarks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

const (
	returnURL = verifytest.ReturnURL
	// poolSize is how many different tokens there are of each algorithm.
	poolSize = 2048
)

// A token is one in both forms: as it is sent, and as the primitive wants it.
type token struct {
	text             string
	input, signature []byte
	session          string
}

// A course is an issuer and tokens of it.
type course struct {
	issuer *verifytest.Issuer
	public crypto.PublicKey
	tokens []token
}

// newCourse makes the issuer, with the key that signs and the next one, and
// size tokens, each of another session.
func newCourse(t testing.TB, algorithm jwk.Algorithm, size int) *course {
	t.Helper()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Algorithms: []jwk.Algorithm{algorithm}, Loopback: true})
	issuer.Publish(algorithm)
	c := &course{issuer: issuer, tokens: make([]token, size)}
	for _, key := range issuer.Keys() {
		if key.ID() == issuer.KeyID() {
			c.public = key.Public()
		}
	}
	// Signing with RSA takes its time.
	var workers sync.WaitGroup
	const parts = 4
	for part := range parts {
		workers.Go(func() {
			for i := part; i < size; i += parts {
				c.tokens[i] = c.token(i)
			}
		})
	}
	workers.Wait()
	return c
}

func (c *course) token(i int) token {
	session := fmt.Sprintf("3f6c1a7e-0b52-4d4e-9a53-%012x", i)
	text := c.issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"sid": session}})
	cut := strings.LastIndexByte(text, '.')
	signature, err := base64.RawURLEncoding.DecodeString(text[cut+1:])
	if err != nil {
		panic(err)
	}
	return token{text: text, input: []byte(text[:cut]), signature: signature, session: session}
}

var errRaw = errors.New("bad signature")

// raw returns what the standard library must do for a token.
func (c *course) raw() func(t *token) error {
	switch public := c.public.(type) {
	case *ecdsa.PublicKey:
		return func(t *token) error {
			sum := sha256.Sum256(t.input)
			r, s := new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:])
			if !ecdsa.Verify(public, sum[:], r, s) {
				return errRaw
			}
			return nil
		}
	case ed25519.PublicKey:
		return func(t *token) error {
			if !ed25519.Verify(public, t.input, t.signature) {
				return errRaw
			}
			return nil
		}
	case *rsa.PublicKey:
		return func(t *token) error {
			sum := sha256.Sum256(t.input)
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], t.signature)
		}
	default:
		panic(fmt.Sprintf("key is %T", public))
	}
}
