package verifytest

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

// A TokenSpec describes how a token differs from a good one. The zero value is a
// good token: a session of [CustomerID] that starts now and lasts an hour,
// signed with the issuer's active key.
type TokenSpec struct {
	// KeyID names the key that signs, published or not. Default: the active key.
	KeyID string
	// IssuedAt is the start of the session, in whole seconds. Default: now.
	IssuedAt time.Time
	// Lifetime is the duration of the session. Default: one hour.
	Lifetime time.Duration
	// Header and Claims are members to add or replace, encoded by
	// encoding/json. A nil value omits the member; for a literal null, use
	// json.RawMessage("null").
	Header, Claims map[string]any
}

// Token returns a signed token.
func (i *Issuer) Token(spec TokenSpec) string {
	s := i.signerFor("")
	if spec.KeyID != "" {
		s = i.signerNamed(spec.KeyID)
	}
	if spec.IssuedAt.IsZero() {
		spec.IssuedAt = time.Now()
	}
	if spec.Lifetime == 0 {
		spec.Lifetime = time.Hour
	}
	header := map[string]any{
		"alg": s.key.Algorithm(),
		"kid": s.key.ID(),
		"typ": wire.TokenType,
	}
	claims := map[string]any{
		wire.ClaimIssuer:         i.url,
		wire.ClaimAudience:       i.audience,
		wire.ClaimCustomerID:     CustomerID,
		wire.ClaimSessionID:      SessionID,
		wire.ClaimOrganizationID: OrganizationID,
		wire.ClaimIssuedAt:       spec.IssuedAt.Unix(),
		wire.ClaimExpiresAt:      spec.IssuedAt.Add(spec.Lifetime).Unix(),
		wire.ClaimReturnURL:      ReturnURL,
		wire.ClaimScope:          wire.Scope,
	}
	return s.token(merge(header, spec.Header), merge(claims, spec.Claims))
}

// Sign returns a token with the given header and claims, signed with the active
// key. Neither needs to be valid JSON.
func (i *Issuer) Sign(header, claims string) string {
	return i.signerFor("").token(header, claims)
}

func (s *signer) token(header, claims string) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + encode(s.sign(input))
}

func merge(members, changes map[string]any) string {
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return string(must(json.Marshal(members)))
}

func encode[T string | []byte](octets T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(octets))
}
