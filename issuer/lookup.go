package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
)

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

const lookupUnavailable = "unavailable"

// lookupResult is the result of a look-up in metrics and traces.
func lookupResult(err error) string {
	switch {
	case err == nil:
		return "found"
	case errors.Is(err, customers.ErrNotFound):
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
