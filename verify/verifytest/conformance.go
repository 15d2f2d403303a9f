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

// caseTimeout bounds the time a verifier may spend on one token. Some attacks
// aim only at that time.
const caseTimeout = 10 * time.Second

// RunConformance runs verify on every case, each as a subtest named after its
// ID. The function verify must trust the issuer of [ConformanceIssuer] and
// return nil for a token that it accepts:
//
//	v, err := verify.New(verifytest.ConformanceIssuer(t).Config())
//
// Cases that need an RS256 key are skipped, because that issuer has none. For
// an issuer of your own, or a general JWT verifier, see [Conformance].
func RunConformance(t *testing.T, verify func(ctx context.Context, token string) error) {
	t.Helper()
	Conformance{Issuer: ConformanceIssuer(t), Verify: verify}.Run(t)
}

// ConformanceIssuer returns an issuer whose two keys, ES256 and EdDSA, are
// always the same. So a verifier may be built before [RunConformance] runs, or
// in another process from a copy of [Issuer.JWKSet]. The private keys are
// public: trust them only in tests.
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
	// Issuer signs the tokens. The verifier must trust it, with a leeway of
	// 30 seconds. Give it a key for each algorithm that the verifier accepts:
	// cases for other algorithms are skipped.
	Issuer *Issuer
	// Verify returns nil for a token that the verifier accepts.
	Verify func(ctx context.Context, token string) error
	// SkipProfile skips the cases that depend on rules of customer sessions;
	// see [Case].
	SkipProfile bool
	// Skip maps the IDs of cases to skip to the reason, which must not be
	// empty.
	Skip map[string]string
}

// Run runs the verifier on every case, each as a subtest named after its ID,
// and then on one good token, which catches a verifier that has started to
// refuse everything.
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

// skips returns the reason to skip a case, or "".
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

// Check runs the verifier on one case and returns an error if the verdict is
// wrong. Use it to report other than by [Conformance.Run]. A verifier is also
// wrong if it panics, returns [verify.ErrKeysUnavailable] or
// [verify.ErrRevocationsUnavailable], or fetches a URL from the token.
func (c Conformance) Check(ctx context.Context, attack Case) error {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	lured := c.Issuer.luredCount()
	err := c.verdict(ctx, attack.Token(c.Issuer))
	panicked, isPanic := errors.AsType[*panicError](err)
	switch {
	case isPanic:
		return panicked
	case errors.Is(err, verify.ErrKeysUnavailable), errors.Is(err, verify.ErrRevocationsUnavailable):
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

// A panicError holds the value of a verifier's panic.
type panicError struct{ value any }

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("the verifier panicked: %v", p.value) }

// verdict calls the verifier and turns a panic into an error, so that the
// remaining cases still run.
func (c Conformance) verdict(ctx context.Context, token string) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value}
		}
	}()
	return c.Verify(ctx, token)
}
