package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/verify"
)

var errMemberRequired = errors.New("customer is a team, and the request names none of its members")

// A holder is whom a session is for.
type holder struct {
	customer *customers.Customer
	member   *customers.Member // nil if the session is the customer's own
}

// findHolder looks up the customer that q names, and the member if it names one.
func (s *Server) findHolder(ctx context.Context, q customers.Query) (h holder, err error) {
	if h.customer, err = s.findCustomer(ctx, q); err != nil || !q.NamesMember() {
		return h, err
	}
	h.member, err = s.findMember(ctx, q, h.customer)
	return h, err
}

// findNewHolder is findHolder for a new session. That of a team belongs to one of its
// members.
func (s *Server) findNewHolder(ctx context.Context, q customers.Query) (holder, error) {
	h, err := s.findHolder(ctx, q)
	if err == nil && h.member == nil && h.customer.Type == customers.Team {
		err = errMemberRequired
	}
	return h, err
}

// findHolderOf looks up whom a session is for again. The error wraps
// [verify.ErrRevoked] if the customer or the member is gone, so that the session has
// ended; errNoCustomers or [customers.ErrUnavailable].
func (s *Server) findHolderOf(ctx context.Context, session *verify.Session) (holder, error) {
	var q customers.Query
	for _, part := range []struct {
		dst  *uuid.UUID
		text string
	}{{&q.OrganizationID, session.OrganizationID}, {&q.ID, session.CustomerID}, {&q.MemberID, session.MemberID}} {
		if part.text == "" {
			continue // the member of a session that is the customer's own
		}
		id, err := uuid.Parse(part.text)
		if err != nil {
			return holder{}, err
		}
		*part.dst = id
	}
	h, err := s.findHolder(ctx, q)
	switch {
	case errors.Is(err, customers.ErrNotFound), errors.Is(err, customers.ErrMemberNotFound), errors.Is(err, customers.ErrNoMembers):
		return holder{}, fmt.Errorf("%w: %w", verify.ErrRevoked, err)
	case errors.Is(err, customers.ErrStatedMissing):
		return holder{}, errNoCustomers
	case err != nil:
		return holder{}, err
	}
	return h, nil
}

// findCustomer looks a customer up, and measures it.
func (s *Server) findCustomer(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	start := time.Now()
	ctx, span := s.tracer.StartLookup(ctx)
	customer, err := s.customers.Find(ctx, q)
	result := lookupResult(err)
	span.EndLookup(result, result == lookupUnavailable)
	s.metrics.lookup(result, time.Since(start))
	return customer, err
}

// findMember looks a member of a customer up, and measures it.
func (s *Server) findMember(ctx context.Context, q customers.Query, c *customers.Customer) (*customers.Member, error) {
	start := time.Now()
	ctx, span := s.tracer.StartLookup(ctx)
	member, err := s.customers.FindMember(ctx, q, c)
	result := lookupResult(err)
	span.EndLookup(result, result == lookupUnavailable)
	s.metrics.lookup(result, time.Since(start))
	return member, err
}

const lookupUnavailable = "unavailable"

// lookupResult is the result of a look-up in metrics and traces.
func lookupResult(err error) string {
	switch {
	case err == nil:
		return "found"
	case errors.Is(err, customers.ErrNotFound), errors.Is(err, customers.ErrMemberNotFound):
		return "not_found"
	case errors.Is(err, customers.ErrUnavailable):
		return lookupUnavailable
	default:
		return "refused"
	}
}

// email returns the e-mail address, or the empty string.
func email(c *customers.Customer) string {
	if c.Email == nil {
		return ""
	}
	return *c.Email
}
