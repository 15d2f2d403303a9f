package verify

import (
	"slices"
	"time"
)

// A Session is what a verified token says. Only [Verifier.Verify] makes one
// that means anything; the zero value stands for nobody.
type Session struct {
	// ID is the session ID, a UUID ("sid").
	ID string
	// CustomerID is the customer who may use the session, a UUID ("sub").
	CustomerID string
	// OrganizationID is whose customer that is, a UUID ("org").
	OrganizationID string
	// Issuer is the issuer's URL ("iss").
	Issuer string
	// Audience is whom the token is for ("aud").
	Audience []string
	// IssuedAt and ExpiresAt bound the session, in whole seconds of UTC
	// ("iat", "exp").
	IssuedAt, ExpiresAt time.Time
	// KeyID names the key that signed the token ("kid").
	KeyID string
	// ReturnURL is where the customer came from, or empty.
	ReturnURL string
	// Scopes are what the session allows ("scope").
	Scopes []string
}

// HasScope reports whether the session allows scope.
func (s Session) HasScope(scope string) bool {
	return slices.Contains(s.Scopes, scope)
}
