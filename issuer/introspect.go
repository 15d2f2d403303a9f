package issuer

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

var errNoTokenForm = errors.New(`form has no parameter "token", or several`)

// introspection is the answer of RFC 7662, Section 2.2. For a token that is not
// active it says nothing else.
type introspection struct {
	Active         bool   `json:"active"`
	TokenType      string `json:"token_type,omitempty"`
	Scope          string `json:"scope,omitempty"`
	Issuer         string `json:"iss,omitempty"`
	Audience       string `json:"aud,omitempty"`
	CustomerID     string `json:"sub,omitempty"`
	SessionID      string `json:"sid,omitempty"`
	OrganizationID string `json:"org,omitempty"`
	IssuedAt       int64  `json:"iat,omitempty"`
	ExpiresAt      int64  `json:"exp,omitempty"`
	ClientID       string `json:"client_id,omitempty"`
	MemberID       string `json:"member_id,omitempty"`
	Role           string `json:"role,omitempty"`
	ReturnURL      string `json:"return_url,omitempty"`
}

// introspectToken answers POST /oauth2/introspect, for services that cannot
// verify by themselves.
func (s *Server) introspectToken(c *call) error {
	key, err := s.authorize(c, organizations.ScopeIntrospect)
	if err != nil {
		return err
	}
	token, err := formToken(c)
	if err != nil {
		return err
	}
	session, err := s.verify(c.Request().Context(), token)
	if err != nil && s.refusals.refuse(err).status != http.StatusUnauthorized {
		return err // not the token's fault
	}
	noStore(c)
	// Customers of one organization do not exist for another.
	if err != nil || session.OrganizationID != key.Organization.ID.String() {
		return c.JSON(http.StatusOK, introspection{})
	}
	return c.JSON(http.StatusOK, introspection{
		Active: true, TokenType: "Bearer", Scope: strings.Join(session.Scopes, " "),
		Issuer: session.Issuer, Audience: s.audience,
		CustomerID: session.CustomerID, SessionID: session.ID, OrganizationID: session.OrganizationID,
		IssuedAt: session.IssuedAt.Unix(), ExpiresAt: session.ExpiresAt.Unix(),
		ClientID: session.ClientID, MemberID: session.MemberID, Role: session.Role, ReturnURL: session.ReturnURL,
	})
}

// formToken reads the parameter "token" of the body. A token in the query
// string would end in logs, so it is not looked for there.
func formToken(c *call) (string, error) {
	r := c.Request()
	mediaType, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType))
	if err != nil || mediaType != echo.MIMEApplicationForm {
		return "", errNoTokenForm
	}
	body, err := readBody(c.Response(), r)
	if err != nil {
		return "", err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["token"]) != 1 || form.Get("token") == "" {
		return "", errNoTokenForm
	}
	return form.Get("token"), nil
}
