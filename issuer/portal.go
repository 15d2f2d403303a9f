package issuer

import (
	"errors"
	"net/http"

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
	// Null unless the session is a member's.
	MemberID *string         `json:"member_id"`
	Role     *customers.Role `json:"role"`
}

// showUser shows the holder of a token who it is. The token holds no name and no
// e-mail address, so they come from the customer directory, and so does the role: it
// is what the member may do now.
func (s *Server) showUser(c *call) error {
	session, err := s.portalSession(c)
	if err != nil {
		return err
	}
	holder, err := s.findHolderOf(c.Request().Context(), &session)
	if errors.Is(err, verify.ErrRevoked) {
		return s.refuseAnonymous(c, err)
	}
	if err != nil {
		return err
	}
	user := portalUser{Type: "customer", Name: holder.customer.Name, Email: email(holder.customer), CustomerID: session.CustomerID}
	if m := holder.member; m != nil {
		user.Type, user.Name, user.Email, user.MemberID, user.Role = "member", m.Name, m.Email, &session.MemberID, &m.Role
	}
	noStore(c)
	return c.JSON(http.StatusOK, user)
}
