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

// issue makes a session for a customer of the organization whose API key asks. The error is an
// *invalidBodyError, an *invalidValueError, or wraps customers.ErrUnavailable,
// keys.ErrNoSigningKey or errSigner.
func (s *Server) issue(ctx context.Context, caller *organizations.APIKey, r *createRequest) (*session, error) {
	organization := caller.Organization
	customer, err := s.findCustomer(ctx, customers.Query{
		OrganizationID: organization.ID, ID: r.customerID, ExternalID: r.externalID, Stated: r.stated,
	})
	if err != nil {
		return nil, customerProblem(err, r)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	key, err := s.keys().SigningKey(now)
	if err != nil {
		return nil, err
	}
	issuedAt := now.UTC().Truncate(time.Second)
	expiresAt, err := expiry(issuedAt, r.lifetime, key)
	if err != nil {
		return nil, err
	}
	result := &session{
		claimSet: claimSet{
			issuer: s.issuer, audience: s.audience,
			sessionID: id, customerID: customer.ID, organizationID: organization.ID, clientID: caller.ClientID,
			issuedAt: issuedAt, expiresAt: expiresAt, returnURL: r.returnURL,
		},
		keyID:    key.Public.ID(),
		customer: customer,
	}
	result.token, err = s.sign(ctx, key, &result.claimSet)
	if errors.Is(err, errTooLong) {
		return nil, refuseMember("return_url", "URL is too long for a token; use a shorter one", "")
	}
	if err != nil {
		return nil, err
	}
	result.portalURL = organization.PortalLink(result.token, email(customer))
	return result, nil
}

// expiry returns when a session ends that is issued at a whole second: after
// its lifetime, but not after the key that signs it may vouch for anything. A
// session that would be of no use for that is refused with
// keys.ErrNoSigningKey.
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

func email(c *customers.Customer) string {
	if c.Email == nil {
		return ""
	}
	return *c.Email
}

// findCustomer looks a customer up and counts how that went.
func (s *Server) findCustomer(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	start := time.Now()
	ctx, span := s.tracer.StartLookup(ctx)
	customer, err := s.customers.Find(ctx, q)
	result := lookupResult(err)
	span.EndLookup(result, result == lookupUnavailable)
	s.metrics.lookup(result, time.Since(start))
	return customer, err
}

// signTimeout is for a signer that is not in this process.
const signTimeout = 3 * time.Second

// sign makes the token and counts how that went.
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

// remember keeps why a signer fails, for readiness, until it signs again.
func (s *Server) remember(err error) {
	switch {
	case errors.Is(err, errSigner):
		s.signFailure.Store(&err)
	case err == nil && s.signFailure.Load() != nil:
		s.signFailure.Store(nil)
	}
}

// customerProblem says what was wrong with the customer in terms of the
// request; an outage stays what it is.
func customerProblem(err error, r *createRequest) error {
	member, value := r.identifier()
	var stated *customers.ValidationError
	switch {
	case errors.Is(err, customers.ErrNotFound):
		return refuseMember(member, "Customer does not exist.", value)
	case errors.Is(err, customers.ErrMismatch):
		return refuseMember(member, "The two identifiers name different customers.", value)
	case errors.Is(err, customers.ErrStated):
		return refuseMember("customer", "This server looks customers up; leave this out.", "")
	case errors.Is(err, customers.ErrStatedMissing):
		return refuseMember("customer", "This server has no customers of its own; state the customer here.", "")
	case errors.Is(err, customers.ErrStatedID):
		return refuseMember("customer_id", "A stated customer needs an ID.", "")
	case errors.As(err, &stated):
		return statedProblems(stated)
	default:
		return err
	}
}

func statedProblems(err *customers.ValidationError) error {
	result := &invalidBodyError{}
	for _, p := range err.Problems {
		loc := append([]any{"body", "customer"}, p.Loc...)
		result.problems = append(result.problems, problem{Type: p.Type, Loc: loc, Msg: p.Msg})
	}
	return result
}

// append appends the session as the API shows it: every member, null where
// there is no value.
func (s *session) append(dst []byte) []byte {
	dst = append(dst, `{"created_at":`...)
	dst = appendTime(dst, s.issuedAt)
	dst = append(dst, `,"modified_at":null,"id":`...)
	dst = appendUUID(dst, s.sessionID)
	dst = append(dst, `,"token":"`...)
	dst = append(dst, s.token...)
	dst = append(dst, `","expires_at":`...)
	dst = appendTime(dst, s.expiresAt)
	dst = append(dst, `,"return_url":`...)
	dst = appendNullable(dst, s.returnURL)
	dst = append(dst, `,"customer_portal_url":`...)
	dst = appendNullable(dst, s.portalURL)
	dst = append(dst, `,"customer_id":`...)
	dst = appendUUID(dst, s.customerID)
	dst = append(dst, `,"customer":`...)
	dst = s.customer.AppendJSON(dst)
	return append(dst, '}')
}
