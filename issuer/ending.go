package issuer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify"
)

const (
	// revokeRate and revokeBurst limit the calls with one API key that end
	// sessions.
	revokeRate  = 20
	revokeBurst = 100
	// tooManyWait is for an organization that has ended too much: entries are
	// dropped one by one, over a day.
	tooManyWait = time.Minute
	// afterExpiry is how long after its end a token may be accepted somewhere.
	afterExpiry = revocations.Retention - longestLifetime
)

// Why a session is not ended.
var (
	errSessionID      = errors.New("the path has no session ID")
	errEverywhere     = errors.New("everywhere is neither true nor false")
	errUnknownAPIKey  = errors.New("the organization has no such API key")
	errRevokeStated   = errors.New("an external customer ID cannot be looked up")
	errRevokeCustomer = errors.New("the customer does not exist")
)

// deleteSession answers DELETE /v1/customer-sessions/{id}. Sessions are not stored,
// so any ID may be that of a session.
func (s *Server) deleteSession(c *call) error {
	key, err := s.authorizeRevoke(c)
	if err != nil {
		return err
	}
	id, err := uuid.Parse(c.Param("id"))
	if err != nil || len(c.Param("id")) != len(id.String()) {
		return errSessionID
	}
	_, err = s.end(c, &ending{entry: revocations.Entry{
		Scope: revocations.Session, OrganizationID: key.Organization.ID, ID: id.String(),
	}})
	if err != nil {
		return err
	}
	noStore(c)
	return c.NoContent(http.StatusNoContent)
}

// revokeSessions answers POST /v1/customer-sessions/revoke.
func (s *Server) revokeSessions(c *call) error {
	key, err := s.authorizeRevoke(c)
	if err != nil {
		return err
	}
	body, err := readJSON(c.Response(), c.Request())
	if err != nil {
		return err
	}
	request, err := decodeRevoke(body)
	if err != nil {
		return err
	}
	if err := s.resolve(c.Request().Context(), key, request); err != nil {
		return err
	}
	request.entry.OrganizationID = key.Organization.ID
	ended, err := s.end(c, &request.ending)
	if err != nil {
		return err
	}
	noStore(c)
	return c.JSON(http.StatusOK, ended)
}

// resolve finds the ID of what a request names otherwise.
func (s *Server) resolve(ctx context.Context, key *organizations.APIKey, r *revokeRequest) error {
	if r.apiKey != "" {
		for other := range key.Organization.APIKeys() {
			if other.Name == r.apiKey {
				r.entry.ID = other.ClientID
				return nil
			}
		}
		return errUnknownAPIKey
	}
	if r.externalID == "" {
		return nil
	}
	customer, err := s.findCustomer(ctx, customers.Query{OrganizationID: key.Organization.ID, ExternalID: r.externalID})
	switch {
	case errors.Is(err, customers.ErrNotFound):
		return errRevokeCustomer
	case errors.Is(err, customers.ErrStatedMissing):
		return errRevokeStated
	case err != nil:
		return err
	}
	r.entry.ID = customer.ID.String()
	return nil
}

// revokeToken answers POST /oauth2/revoke (RFC 7009). A token that is not valid
// needs no ending, and to another organization's there is nothing to say.
func (s *Server) revokeToken(c *call) error {
	key, err := s.authorizeRevoke(c)
	if err != nil {
		return err
	}
	token, err := formToken(c)
	if err != nil {
		return err
	}
	session, err := s.verify(c.Request().Context(), token)
	switch {
	case errors.Is(err, feed.ErrUnavailable):
		// Whether it has been ended is not known. Ending it shows what the log can do.
		session, err = s.verifier.Verify(c.Request().Context(), token)
	case err != nil && s.refusals.refuse(err).status == http.StatusUnauthorized:
		session, err = verify.Session{}, nil
	}
	if err != nil {
		return err
	}
	if session.OrganizationID == key.Organization.ID.String() {
		if _, err := s.end(c, endingOf(&session, key.Organization.ID, false)); err != nil {
			return err
		}
	}
	noStore(c)
	return c.NoContent(http.StatusOK)
}

// endPortalSession answers DELETE /v1/customer-portal/customer-session: the holder
// of a token ends the session, or all of the customer or the member.
func (s *Server) endPortalSession(c *call) error {
	session, err := s.portalSession(c)
	if err != nil {
		return err
	}
	everywhere, err := readEverywhere(c.Request())
	if err != nil {
		return err
	}
	organization, err := uuid.Parse(session.OrganizationID)
	if err != nil {
		return err
	}
	ending := endingOf(&session, organization, everywhere)
	ending.by = session.ID
	if _, err := s.end(c, ending); err != nil {
		return err
	}
	noStore(c)
	return c.NoContent(http.StatusNoContent)
}

// readEverywhere reports whether a request asks for everywhere. Of a query that
// cannot be read nothing is guessed: ending less than was meant must not look like
// success. The error is errEverywhere.
func readEverywhere(r *http.Request) (bool, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	values := query["everywhere"]
	switch {
	case err != nil || len(values) > 1:
		return false, errEverywhere
	case len(values) == 0 || values[0] == "false":
		return false, nil
	case values[0] == "true":
		return true, nil
	default:
		return false, errEverywhere
	}
}

// An ending is what is to be ended.
type ending struct {
	entry  revocations.Entry
	reason string // of the caller, for the audit event
	by     string // the ID of the session whose holder asks, empty for an API key
}

// endingOf ends a session whose token is known, or all of its holder: of the member, if
// it is a member's, and not of the rest of the team. The entry may be dropped as soon as the token can be accepted nowhere any more.
func endingOf(session *verify.Session, organization uuid.UUID, everywhere bool) *ending {
	e := &ending{entry: revocations.Entry{OrganizationID: organization}}
	switch {
	case everywhere && session.MemberID != "":
		e.entry.Scope, e.entry.ID = revocations.Member, session.MemberID
		return e
	case everywhere:
		e.entry.Scope, e.entry.ID = revocations.Customer, session.CustomerID
		return e
	}
	e.entry.Scope, e.entry.ID, e.entry.DropAt = revocations.Session, session.ID, session.ExpiresAt.Add(afterExpiry)
	return e
}

// ended is the answer about what was ended.
type ended struct {
	RevokedAt    time.Time  `json:"revoked_at"`
	IssuedBefore *time.Time `json:"issued_before"` // null for a single session
	EffectiveBy  time.Time  `json:"effective_by"`
}

// end ends what is to be ended, and records it.
func (s *Server) end(c *call, e *ending) (*ended, error) {
	result, err := s.revocations.End(context.WithoutCancel(c.Request().Context()), e.entry)
	s.auditEnding(c, e, endingResult(result, err))
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	answer := &ended{RevokedAt: now.Truncate(time.Second), EffectiveBy: now.Add(s.maxRevocationAge + time.Second).Truncate(time.Second)}
	if before := result.IssuedBefore.UTC(); !result.IssuedBefore.IsZero() {
		answer.IssuedBefore = &before
	}
	return answer, nil
}

// Results of ending sessions, for the metric and the audit event.
const (
	endingDone     = "ended"
	endingRepeated = "repeated"
	endingOff      = "off"
	endingTooMany  = "too_many"
	endingUnknown  = "unknown"
)

func endingResult(result feed.Ended, err error) string {
	switch {
	case errors.Is(err, feed.ErrOff):
		return endingOff
	case errors.Is(err, feed.ErrTooMany):
		return endingTooMany
	case err != nil:
		return endingUnknown
	case result.Repeated:
		return endingRepeated
	default:
		return endingDone
	}
}

// auditEnding records who ended what, one event for each entry that is in the log,
// or may be.
func (s *Server) auditEnding(c *call, e *ending, result string) {
	s.metrics.ended.WithLabelValues(string(e.entry.Scope), result).Inc()
	if result == endingOff || result == endingTooMany {
		return
	}
	level := slog.LevelInfo
	if result == endingUnknown {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("request_id", c.requestID),
		slog.String("outcome", result),
		slog.String("scope", string(e.entry.Scope)),
		slog.String("organization_id", e.entry.OrganizationID.String()),
	}
	if e.entry.ID != "" {
		attrs = append(attrs, slog.String("id", e.entry.ID))
	}
	if c.caller != nil {
		attrs = append(attrs, slog.String("api_key", c.caller.Name), slog.String("client_id", c.caller.ClientID))
	} else {
		attrs = append(attrs, slog.String("session_id", e.by))
	}
	if e.reason != "" {
		attrs = append(attrs, slog.String("reason", e.reason))
	}
	s.log(c.Request().Context(), level, "sessions ended", attrs...)
}

// authorizeRevoke is authorize for the calls that end sessions, which may be called
// less often.
func (s *Server) authorizeRevoke(c *call) (*organizations.APIKey, error) {
	key, err := s.authorize(c, organizations.ScopeRevoke)
	if err != nil {
		return nil, err
	}
	if wait, ok := s.revokeLimit.Allow(apiKeyID{key.Organization.ID, key.Name}); !ok {
		s.metrics.limited.WithLabelValues("revoke").Inc()
		return nil, &tooManyError{wait}
	}
	return key, nil
}
