package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// codeLifetime is how long a link with a code can be used.
const codeLifetime = 10 * time.Minute

// Why a code is not exchanged for its session.
var (
	errCodeInvalid  = errors.New("the code is not valid here")
	errCodeExpired  = errors.New("the code has expired")
	errCodeUsed     = errors.New("the code has been used")
	errSessionEnded = errors.New("the session of the code has ended")
)

// code returns the claims of the code that stands for a session in a link: those of
// the session, for nobody but this issuer, and for a shorter time.
func (c *claimSet) code() *claimSet {
	code := *c
	code.audience = c.issuer
	code.sessionExpiresAt = c.expiresAt
	if expiresAt := c.issuedAt.Add(codeLifetime); expiresAt.Before(c.expiresAt) {
		code.expiresAt = expiresAt
	}
	return &code
}

// readCode verifies a code of an organization and returns the claims of its session,
// and the code's own: those of the session, but for the end. The error is
// errCodeInvalid, which says nothing about another organization's code,
// errCodeExpired, errSessionEnded, [verify.ErrKeysUnavailable] or
// [feed.ErrUnavailable].
func (s *Server) readCode(ctx context.Context, organization uuid.UUID, code string) (session *claimSet, verified verify.Session, err error) {
	verified, err = s.codeVerifier.Verify(ctx, code)
	expired, late := errors.AsType[*verify.ExpiredError](err)
	if late {
		verified = expired.Session
	}
	switch {
	case errors.Is(err, verify.ErrKeysUnavailable):
		return nil, verify.Session{}, err
	case err != nil && !late, verified.OrganizationID != organization.String():
		return nil, verify.Session{}, errCodeInvalid
	case !time.Now().Before(verified.ExpiresAt):
		// The leeway is for issuers whose clocks are ahead. A code that ends a moment
		// early does no harm.
		return nil, verify.Session{}, errCodeExpired
	}
	if session, err = s.sessionOf(&verified, code); err != nil {
		return nil, verify.Session{}, err
	}
	switch err = s.checkEnded(&verified); {
	case errors.Is(err, verify.ErrRevoked):
		return nil, verify.Session{}, errSessionEnded
	case err != nil:
		return nil, verify.Session{}, err
	}
	return session, verified, nil
}

// sessionOf returns the claims of the session that a verified code stands for.
func (s *Server) sessionOf(verified *verify.Session, code string) (*claimSet, error) {
	expiresAt, ok := sessionExpiry(code)
	if !ok || expiresAt.Before(verified.ExpiresAt) || verified.ClientID == "" {
		return nil, errCodeInvalid
	}
	session := &claimSet{
		issuer: s.issuer, audience: s.audience, clientID: verified.ClientID,
		issuedAt: verified.IssuedAt, expiresAt: expiresAt, returnURL: verified.ReturnURL,
	}
	ids := []struct {
		to   *uuid.UUID
		text string
	}{
		{&session.sessionID, verified.ID},
		{&session.customerID, verified.CustomerID},
		{&session.organizationID, verified.OrganizationID},
	}
	if verified.MemberID != "" {
		// The role is that of the time when the session was created.
		session.member = &customers.Member{Role: customers.Role(verified.Role)}
		ids = append(ids, struct {
			to   *uuid.UUID
			text string
		}{&session.member.ID, verified.MemberID})
	}
	for _, id := range ids {
		var err error
		if *id.to, err = uuid.Parse(id.text); err != nil {
			return nil, errCodeInvalid
		}
	}
	return session, nil
}

// sessionExpiry reads the one claim of a code that no session has. The code has been
// verified, so its payload is strict JSON.
func sessionExpiry(code string) (expiresAt time.Time, ok bool) {
	_, rest, _ := strings.Cut(code, ".")
	segment, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return time.Time{}, false
	}
	_, err = ijson.Members(payload, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		if string(name) == wire.ClaimSessionExpiresAt {
			var seconds int64
			seconds, ok = v.Int()
			expiresAt = time.Unix(seconds, 0).UTC()
		}
		return nil
	})
	return expiresAt, ok && err == nil
}
