package issuer

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/jsontext"
	"github.com/customersession/customersession/verify"
)

var errNoCustomers = errors.New("this server has no customers of its own")

// introspectPortal shows the holder of a token when it expires.
func (s *Server) introspectPortal(c *call) error {
	session, err := s.portalSession(c)
	if err != nil {
		return err
	}
	body := append(make([]byte, 0, 128+len(session.ReturnURL)), `{"expires_at":`...)
	body = jsontext.AppendTime(body, &session.ExpiresAt)
	body = append(body, `,"return_url":`...)
	body = appendNullable(body, session.ReturnURL)
	noStore(c)
	return writeJSON(c, http.StatusOK, append(body, '}'))
}

// portalUser is the answer of showUser.
type portalUser struct {
	Type       string  `json:"type"`
	Name       *string `json:"name"`
	Email      string  `json:"email"`
	CustomerID string  `json:"customer_id"`
	// Always null. Clients expect them.
	MemberID *string `json:"member_id"`
	Role     *string `json:"role"`
}

// showUser shows the customer to the holder of a token. The token holds no name
// and no e-mail address, so they come from the customer directory.
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
		// Deleted since: the session has ended.
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
