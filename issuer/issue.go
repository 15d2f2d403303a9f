package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys"
)

// A session is what was issued: everything the answer shows.
type session struct {
	claimSet
	token     string
	keyID     string
	portalURL string
	customer  *customers.Customer
}

// terms are what a client may choose about a session.
type terms struct {
	lifetime  time.Duration
	returnURL string // may be empty
}

// issue makes a session of its holder for the API key that asks. The error
// wraps errTooLong, errSigner or [keys.ErrNoSigningKey].
func (s *Server) issue(ctx context.Context, caller *organizations.APIKey, of holder, t terms) (*session, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	key, err := s.signingKey(now)
	if err != nil {
		return nil, err
	}
	issuedAt := now.UTC().Truncate(time.Second)
	expiresAt, err := expiry(issuedAt, t.lifetime, key)
	if err != nil {
		return nil, err
	}
	result := &session{
		claimSet: claimSet{
			issuer: s.issuer, audience: s.audience,
			sessionID: id, customerID: of.customer.ID, organizationID: caller.Organization.ID, clientID: caller.ClientID,
			member:   of.member,
			issuedAt: issuedAt, expiresAt: expiresAt, returnURL: t.returnURL,
		},
		keyID:    key.Public.ID(),
		customer: of.customer,
	}
	result.token, err = s.sign(ctx, key, &result.claimSet)
	if err != nil {
		return nil, err
	}
	result.portalURL, err = s.portalLink(ctx, key, result, caller.Organization)
	return result, err
}

// portalLink makes the link to the portal, with the token or with a code.
func (s *Server) portalLink(ctx context.Context, key *keys.SigningKey, r *session, o *organizations.Organization) (string, error) {
	credential := r.token
	if o.LinksHoldCodes() {
		var err error
		if credential, err = s.sign(ctx, key, r.code()); err != nil {
			return "", err
		}
	}
	return o.PortalLink(credential, email(r.customer)), nil
}

// expiry returns when a session that is issued at a whole second ends: after its
// lifetime, but not later than the key allows. A session that would be too
// short to be useful is refused with keys.ErrNoSigningKey.
func expiry(issuedAt time.Time, lifetime time.Duration, key *keys.SigningKey) (time.Time, error) {
	expiresAt := issuedAt.Add(lifetime)
	if !expiresAt.After(key.LatestExpiry) {
		return expiresAt, nil
	}
	expiresAt = key.LatestExpiry.UTC().Truncate(time.Second)
	if expiresAt.Sub(issuedAt) < minLifetime {
		return time.Time{}, errOutlives(key)
	}
	return expiresAt, nil
}

// signTimeout limits a signer outside this process.
const signTimeout = 3 * time.Second

// sign makes the token, and measures it.
func (s *Server) sign(ctx context.Context, key *keys.SigningKey, c *claimSet) (string, error) {
	start := time.Now()
	if !key.Local {
		limited, cancel := context.WithTimeout(ctx, signTimeout)
		defer cancel()
		ctx = limited
	}
	ctx, span := s.tracer.StartSigning(ctx)
	token, err := signToken(ctx, key, c)
	span.EndSigning(string(key.Public.Algorithm()), key.Public.ID(), err != nil)
	s.metrics.signature(key.Public.Algorithm(), err, time.Since(start))
	s.remember(err)
	return token, err
}

// remember keeps the error of a signer for readiness, until it signs again.
func (s *Server) remember(err error) {
	switch {
	case errors.Is(err, errSigner):
		s.signFailure.Store(&err)
	case err == nil && s.signFailure.Load() != nil:
		s.signFailure.Store(nil)
	}
}
