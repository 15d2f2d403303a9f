package verify

import (
	"slices"
	"time"
)

// A Session is the content of a verified token: [Verifier.Verify] returns it.
// The zero value is no session.
type Session struct {
	// ID is the session ID, a UUID ("sid").
	ID string
	// CustomerID is the customer that the session belongs to, a UUID ("sub").
	CustomerID string
	// OrganizationID is the organization that the customer belongs to, a UUID
	// ("org").
	OrganizationID string
	// ClientID names the API key that the session was issued to ("client_id").
	// It is empty in tokens of issuers before version 0.2.
	ClientID string
	// MemberID is the member of the customer, usually a team, that the session
	// belongs to, a UUID ("member_id"). It is empty when the session is the
	// customer's own.
	MemberID string
	// Role is the member's role when the session was issued: "owner",
	// "billing_manager" or "member" ("role"). It is empty without a MemberID.
	Role string
	// Issuer is the issuer's URL ("iss").
	Issuer string
	// Audience lists the services that the token is for ("aud").
	Audience []string
	// IssuedAt and ExpiresAt bound the session, in whole seconds of UTC
	// ("iat", "exp").
	IssuedAt, ExpiresAt time.Time
	// KeyID names the key that signed the token ("kid").
	KeyID string
	// ReturnURL is the page that the customer came from, or empty.
	ReturnURL string
	// Scopes are what the session allows ("scope").
	Scopes []string
}

// HasScope reports whether the session allows scope.
func (s Session) HasScope(scope string) bool {
	return slices.Contains(s.Scopes, scope)
}

// copySession copies s to dst, field by field, and into the lists that dst has
// as long as one place is enough: see [Verifier.Verify].
func copySession(dst, s *Session) {
	dst.ID, dst.CustomerID, dst.OrganizationID, dst.ClientID = s.ID, s.CustomerID, s.OrganizationID, s.ClientID
	dst.MemberID, dst.Role = s.MemberID, s.Role
	dst.Issuer, dst.KeyID, dst.ReturnURL = s.Issuer, s.KeyID, s.ReturnURL
	dst.IssuedAt, dst.ExpiresAt = s.IssuedAt, s.ExpiresAt
	if len(s.Audience) == 1 {
		dst.Audience[0] = s.Audience[0]
	} else {
		dst.Audience = slices.Clone(s.Audience)
	}
	if len(s.Scopes) == 1 {
		dst.Scopes[0] = s.Scopes[0]
	} else {
		dst.Scopes = slices.Clone(s.Scopes)
	}
}
