package verifytest

import (
	"slices"

	"github.com/customersession/customersession/keys/jwk"
)

// A Verdict is the right answer of a verifier to a token.
type Verdict string

// The verdicts.
const (
	// Accept is for good tokens, including unusual ones.
	Accept Verdict = "accept"
	// Refuse is for attacks, and for tokens that no issuer writes.
	Refuse Verdict = "refuse"
	// Either is for tokens that the specifications let a verifier accept or
	// refuse. They are cases so that the behaviour is known.
	Either Verdict = "either"
)

// A Case is one token and the verdict that a verifier should reach.
type Case struct {
	// ID names the case and never changes.
	ID string
	// Title describes the token.
	Title string
	// Why explains the verdict.
	Why string
	// Source is the requirement or the first report: a section of an RFC, a
	// CVE, a paper.
	Source string
	// Want is the right verdict.
	Want Verdict
	// Profile marks a case that depends on a rule of customer sessions, such as
	// UUIDs, required claims or a length limit. A general JWT verifier may
	// answer differently and still be right.
	Profile bool
	// Algorithms lists the algorithms for which the issuer must publish keys.
	// The key for the first one signs. If empty, the issuer's active key signs.
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

// Token makes the token of the case, dated now; each call returns a different
// one. It panics when the case does not apply to the issuer.
func (c Case) Token(issuer *Issuer) string {
	if !c.Applies(issuer) {
		panic("verifytest: the issuer has no key for case " + c.ID)
	}
	return c.build(newForge(issuer, c.Algorithms))
}

// Cases returns the catalogue, ordered by subject: algorithm, key, encoding,
// signature, claims.
func Cases() []Case {
	return slices.Concat(
		goodCases(), goodClaimsCases(),
		noneCases(), algorithmCases(), secretCases(), textSecretCases(), confusionCases(),
		keyCases(), keyIDCases(), carriedKeyCases(),
		criticalCases(), typeCases(), memberCases(),
		serializationCases(), compactCases(), base64Cases(),
		jsonCases(), textCases(), duplicateCases(), foldingCases(),
		signatureCases(), es256Cases(), eddsaCases(), rs256Cases(),
		issuerCases(), audienceCases(), identityCases(), stringCases(), teamCases(),
		expiryCases(), dateCases(),
	)
}

func accept(id, title, why, source string, build builder) Case {
	return Case{ID: id, Title: title, Why: why, Source: source, Want: Accept, build: build}
}

func refuse(id, title, why, source string, build builder) Case {
	return Case{ID: id, Title: title, Why: why, Source: source, Want: Refuse, build: build}
}

// ours marks a case that depends on a rule of customer sessions.
func (c Case) ours() Case {
	c.Profile = true
	return c
}

// on sets the algorithms for which the issuer needs keys.
func (c Case) on(algorithms ...jwk.Algorithm) Case {
	c.Algorithms = algorithms
	return c
}
