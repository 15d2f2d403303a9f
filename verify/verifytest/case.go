package verifytest

import (
	"slices"

	"github.com/customersession/customersession/keys/jwk"
)

// A Verdict is what a verifier should make of a token.
type Verdict string

// The verdicts.
const (
	// Accept is for good tokens, also unusual ones.
	Accept Verdict = "accept"
	// Refuse is for attacks and for what no issuer writes.
	Refuse Verdict = "refuse"
	// Either is for tokens about which specifications leave the choice; they
	// are shown so that one knows.
	Either Verdict = "either"
)

// A Case is one token that a verifier should judge in a certain way.
type Case struct {
	// ID names the case and never changes.
	ID string
	// Title is what the token is.
	Title string
	// Why is what is wrong where the verdict is another one.
	Why string
	// Source is where that was first told or is demanded: a section of an RFC,
	// a CVE, a paper.
	Source string
	// Want is the right verdict.
	Want Verdict
	// Profile marks a case that rests on a rule of customer sessions, such as
	// UUIDs, required claims or a length limit. A general verifier of JWTs may
	// judge it otherwise without being wrong.
	Profile bool
	// Algorithms are those that the issuer must publish keys for; the key for
	// the first one signs. When it is empty, the issuer's active key does.
	Algorithms []jwk.Algorithm

	build builder
}

// A builder makes the token of a case.
type builder func(*forge) string

// Applies reports whether the issuer publishes the keys that the case needs.
func (c Case) Applies(issuer *Issuer) bool {
	return !slices.ContainsFunc(c.Algorithms, func(a jwk.Algorithm) bool {
		return issuer.signerFor(a) == nil
	})
}

// Token makes the token of the case, dated now. It is another one each time.
// It panics when the case does not apply to the issuer.
func (c Case) Token(issuer *Issuer) string {
	if !c.Applies(issuer) {
		panic("verifytest: the issuer has no key for case " + c.ID)
	}
	return c.build(newForge(issuer, c.Algorithms))
}

// Cases returns the catalogue, in an order that goes from the algorithm over
// the key, the encoding and the signature to the claims.
func Cases() []Case {
	return slices.Concat(
		goodCases(), goodClaimsCases(),
		noneCases(), algorithmCases(), secretCases(), textSecretCases(), confusionCases(),
		keyCases(), keyIDCases(), carriedKeyCases(),
		criticalCases(), typeCases(), memberCases(),
		serializationCases(), compactCases(), base64Cases(),
		jsonCases(), textCases(), duplicateCases(), foldingCases(),
		signatureCases(), es256Cases(), eddsaCases(), rs256Cases(),
		issuerCases(), audienceCases(), identityCases(), stringCases(),
		expiryCases(), dateCases(),
	)
}

func accept(id, title, why, source string, build builder) Case {
	return Case{ID: id, Title: title, Why: why, Source: source, Want: Accept, build: build}
}

func refuse(id, title, why, source string, build builder) Case {
	return Case{ID: id, Title: title, Why: why, Source: source, Want: Refuse, build: build}
}

// ours marks a case that rests on a rule of customer sessions.
func (c Case) ours() Case {
	c.Profile = true
	return c
}

// on demands keys.
func (c Case) on(algorithms ...jwk.Algorithm) Case {
	c.Algorithms = algorithms
	return c
}
