package issuer

import (
	"log/slog"
	"net/http"

	"github.com/customersession/customersession/issuer/internal/jsontext"
	"github.com/customersession/customersession/issuer/internal/organizations"
)

// createSession answers POST /v1/customer-sessions/.
func (s *Server) createSession(c *call) error {
	ctx := c.Request().Context()
	key, err := s.authorize(c, organizations.ScopeWrite)
	if err != nil {
		return err
	}
	request, err := s.readCreate(c)
	if err != nil {
		return err
	}
	if request.returnHost != "" && !key.Organization.AllowsReturnURL(request.returnHost) {
		return errReturnHost
	}
	holder, err := s.findNewHolder(ctx, request.query(key.Organization.ID))
	if err != nil {
		return &createError{request, err}
	}
	if err := s.outlastEnding(ctx, key, holder); err != nil {
		return err
	}
	session, err := s.issue(ctx, key, holder, request.terms)
	if err != nil {
		return &createError{request, err}
	}
	s.audit(c, key, session)
	noStore(c)
	return writeJSON(c, http.StatusCreated, session.encode())
}

// readCreate reads and checks the body of a request for a session.
func (s *Server) readCreate(c *call) (*createRequest, error) {
	body, err := readJSON(c.Response(), c.Request())
	if err != nil {
		return nil, err
	}
	return decodeCreate(body, s.lifetime, s.maxLifetime)
}

// createError is why a well-formed request for a session is not fulfilled.
type createError struct {
	request *createRequest
	err     error
}

func (e *createError) Error() string { return e.err.Error() }

func (e *createError) Unwrap() error { return e.err }

// audit records who asked for which session, one event for each.
func (s *Server) audit(c *call, key *organizations.APIKey, session *session) {
	s.metrics.issued.WithLabelValues(key.Organization.Slug).Inc()
	attrs := []slog.Attr{
		slog.String("request_id", c.requestID),
		slog.String("organization_id", key.Organization.ID.String()),
		slog.String("api_key", key.Name),
		slog.String("client_id", key.ClientID),
		slog.String("session_id", session.sessionID.String()),
		slog.String("customer_id", session.customerID.String()),
		slog.String("key_id", session.keyID),
		slog.Time("expires_at", session.expiresAt),
	}
	if session.member != nil {
		attrs = append(attrs, slog.String("member_id", session.member.ID.String()))
	}
	s.log(c.Request().Context(), slog.LevelInfo, "session issued", attrs...)
}

// encode returns the session as the API shows it: every member, null where
// there is no value.
func (s *session) encode() []byte {
	// The token appears twice. The rest is about a kilobyte.
	dst := make([]byte, 0, 2*len(s.token)+len(s.returnURL)+1024)
	dst = append(dst, `{"created_at":`...)
	dst = jsontext.AppendTime(dst, &s.issuedAt)
	dst = append(dst, `,"modified_at":null,"id":`...)
	dst = jsontext.AppendUUID(dst, &s.sessionID)
	dst = append(dst, `,"token":"`...)
	dst = append(dst, s.token...)
	dst = append(dst, `","expires_at":`...)
	dst = jsontext.AppendTime(dst, &s.expiresAt)
	dst = append(dst, `,"return_url":`...)
	dst = appendNullable(dst, s.returnURL)
	dst = append(dst, `,"customer_portal_url":`...)
	dst = appendNullable(dst, s.portalURL)
	dst = append(dst, `,"customer_id":`...)
	dst = jsontext.AppendUUID(dst, &s.customerID)
	dst = append(dst, `,"customer":`...)
	dst = s.customer.AppendJSON(dst)
	return append(dst, '}')
}
