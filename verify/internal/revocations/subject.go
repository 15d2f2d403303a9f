package revocations

import "github.com/customersession/customersession/verify/wire"

// A Subject is whom a session belongs to, as the feed names them: any of its IDs
// can end it. It is computed once for a token.
type Subject struct {
	ids      [5]wire.RevocationID
	n        int
	issuedAt int64
}

// A Holder has what a revocation can name in a session. MemberID and ClientID may
// be empty.
type Holder struct {
	OrganizationID, SessionID, CustomerID, MemberID, ClientID string
	// IssuedAt is in seconds since 1970.
	IssuedAt int64
}

// Subject returns the IDs of everything that can end the session.
func (h *Holder) Subject() (s Subject) {
	s.issuedAt = h.IssuedAt
	s.add(wire.RevokeSession, h.OrganizationID, h.SessionID)
	s.add(wire.RevokeCustomer, h.OrganizationID, h.CustomerID)
	s.add(wire.RevokeOrganization, h.OrganizationID, "")
	if h.MemberID != "" {
		s.add(wire.RevokeMember, h.OrganizationID, h.MemberID)
	}
	if h.ClientID != "" {
		s.add(wire.RevokeAPIKey, h.OrganizationID, h.ClientID)
	}
	return s
}

func (s *Subject) add(scope wire.RevocationScope, organizationID, id string) {
	s.ids[s.n] = wire.NewRevocationID(scope, organizationID, id)
	s.n++
}
