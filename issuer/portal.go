package issuer

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/verify"
)

var errNoCustomers = errors.New("this server has no customers of its own")

// introspectPortal tells the holder of a token how long it lasts.
func (s *Server) introspectPortal(c *call) error {
	session, err := s.portalSession(c)
	if err != nil {
		return err
	}
	body := append(make([]byte, 0, 128+len(session.ReturnURL)), `{"expires_at":`...)
	body = appendTime(body, session.ExpiresAt)
	body = append(body, `,"return_url":`...)
	body = appendNullable(body, session.ReturnURL)
	noStore(c)
	return writeJSON(c, http.StatusOK, append(body, '}'))
}

// portalUser is the answer to who is signed in.
type portalUser struct {
	Type       string  `json:"type"`
	Name       *string `json:"name"`
	Email      string  `json:"email"`
	CustomerID string  `json:"customer_id"`
	// We have no members; clients expect the two all the same.
	MemberID *string `json:"member_id"`
	Role     *string `json:"role"`
}

// showUser tells the holder of a token who they are. The token holds no name
// and no e-mail address, so this asks the customer directory.
func (s *Server) showUser(c *call) error {
	session, err := s.portalSession(c)
	if err != nil {
		return err
	}
	query, err := customerOf(session)
	if err != nil {
		return err
	}
	customer, err := s.findCustomer(c.Request().Context(), query)
	switch {
	case errors.Is(err, customers.ErrNotFound):
		// Deleted since: then nobody is signed in.
		return s.refuseAnonymous(c, verify.ErrRevoked)
	case errors.Is(err, customers.ErrStatedMissing):
		return errNoCustomers
	case err != nil:
		return err
	}
	noStore(c)
	return c.JSON(http.StatusOK, portalUser{
		Type: "customer", Name: customer.Name, Email: email(customer), CustomerID: session.CustomerID,
	})
}

// customerOf returns the query for a session's customer.
func customerOf(session verify.Session) (customers.Query, error) {
	id, err := uuid.Parse(session.CustomerID)
	if err != nil {
		return customers.Query{}, err
	}
	organization, err := uuid.Parse(session.OrganizationID)
	if err != nil {
		return customers.Query{}, err
	}
	return customers.Query{OrganizationID: organization, ID: id}, nil
}
