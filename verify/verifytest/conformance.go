package verifytest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/customersession/customersession/verify"
)

// caseTimeout is how long a verifier may think about one token. Some attacks
// have no other aim than to make it think.
const caseTimeout = 10 * time.Second

// RunConformance shows every case to verify, each as a subtest named after its
// ID. It must return nil for a token that it accepts, and trust the issuer of
// [ConformanceIssuer]:
//
//	v, err := verify.New(verifytest.ConformanceIssuer(t).Config())
//
// Cases that need an RS256 key are skipped, because that issuer has none. For
// an issuer of your own, or a verifier of JWTs in general, see
// [Conformance].
func RunConformance(t *testing.T, verify func(ctx context.Context, token string) error) {
	t.Helper()
	Conformance{Issuer: ConformanceIssuer(t), Verify: verify}.Run(t)
}

// ConformanceIssuer returns an issuer with an ES256 and an EdDSA key that are
// always the same, so that a verifier and [RunConformance], or a verifier in
// another process that was given its [Issuer.JWKSet] once, agree about it.
// Everybody can sign with these keys: trust them in no place but a test.
//
//nolint:thelper // it begins with Helper where there is a test
func ConformanceIssuer(t testing.TB) *Issuer {
	if t != nil {
		t.Helper()
	}
	seed := func(name string) []byte {
		sum := sha256.Sum256([]byte("customersession verifytest conformance " + name))
		return sum[:]
	}
	return NewIssuer(t, Config{Keys: []crypto.Signer{
		must(ecdsa.ParseRawPrivateKey(elliptic.P256(), seed("ES256"))),
		ed25519.NewKeyFromSeed(seed("EdDSA")),
	}})
}

// A Conformance is a run of the catalogue against one verifier.
type Conformance struct {
	// Issuer signs the tokens; the verifier must trust it, with a leeway of
	// 30 seconds. Give it a key for each algorithm that the verifier accepts:
	// the cases of other algorithms are skipped.
	Issuer *Issuer
	// Verify returns nil for a token that the verifier accepts.
	Verify func(ctx context.Context, token string) error
	// SkipProfile leaves out the cases that rest on rules of customer
	// sessions; see [Case].
	SkipProfile bool
	// Skip leaves out cases by their ID, each with the reason, which must not
	// be empty.
	Skip map[string]string
}

// Run shows every case to the verifier, each as a subtest named after its ID,
// and one good token after them all: a verifier that has begun to refuse
// everything has not passed.
func (c Conformance) Run(t *testing.T) {
	t.Helper()
	if c.Issuer == nil || c.Verify == nil {
		t.Fatal("verifytest: Conformance needs an Issuer and a Verify function")
	}
	known := map[string]bool{}
	for _, attack := range Cases() {
		known[attack.ID] = true
		t.Run(attack.ID, func(t *testing.T) {
			if reason := c.skips(attack); reason != "" {
				t.Skip(reason)
			}
			if err := c.Check(t.Context(), attack); err != nil {
				t.Errorf("%s: %v\nsource: %s", attack.Title, err, attack.Source)
			}
		})
	}
	for id, reason := range c.Skip {
		if !known[id] || reason == "" {
			t.Errorf("verifytest: Skip[%q] is no case, or gives no reason", id)
		}
	}
	if err := c.Verify(t.Context(), c.Issuer.Token(TokenSpec{})); err != nil {
		t.Errorf("verifytest: after all cases a good token is refused: %v", err)
	}
}

// skips returns why a case is left out, or "".
func (c Conformance) skips(attack Case) string {
	switch {
	case c.Skip[attack.ID] != "":
		return c.Skip[attack.ID]
	case c.SkipProfile && attack.Profile:
		return "the case rests on a rule of customer sessions"
	case !attack.Applies(c.Issuer):
		return fmt.Sprintf("the issuer has no keys for %q", attack.Algorithms)
	default:
		return ""
	}
}

// Check shows one case to the verifier, for those who report in another way
// than [Conformance.Run]. It returns what is wrong with the verdict, or nil. A
// verifier that panics, that cannot tell ([verify.ErrKeysUnavailable]) or that
// fetches what a token points to is wrong, too.
func (c Conformance) Check(ctx context.Context, attack Case) error {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	lured := c.Issuer.luredCount()
	err := c.verdict(ctx, attack.Token(c.Issuer))
	panicked, isPanic := errors.AsType[*panicError](err)
	switch {
	case isPanic:
		return panicked
	case errors.Is(err, verify.ErrKeysUnavailable):
		return fmt.Errorf("the verifier could not tell, so that this shows nothing: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("no verdict within %v", caseTimeout)
	case c.Issuer.luredCount() != lured:
		return errors.New("the verifier fetched an address that the token named")
	case attack.Want == Accept && err != nil:
		return fmt.Errorf("refused, but %s: %w", attack.Why, err)
	case attack.Want == Refuse && err == nil:
		return fmt.Errorf("accepted, but %s", attack.Why)
	default:
		return nil
	}
}

// A panicError is what a verifier panicked with.
type panicError struct{ value any }

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("the verifier panicked: %v", p.value) }

// verdict calls the verifier, whose panic must not hide the cases after it.
func (c Conformance) verdict(ctx context.Context, token string) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value}
		}
	}()
	return c.Verify(ctx, token)
}
