package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify"
)

// A redemption is named by its client, at random: who sees the code must not guess
// it.
const (
	minRedemption = 16 // bytes
	maxRedemption = 255
)

// exchangeCode answers POST /v1/customer-sessions/exchange: the portal gets the
// session of the code in a link, once. The session is signed anew as it was
// created, so whatever ends it meanwhile ends it.
func (s *Server) exchangeCode(c *call) error {
	session, outcome, err := s.exchange(c)
	s.auditExchange(c, session, s.exchangeResult(outcome, err))
	if err != nil {
		return err
	}
	noStore(c)
	return writeJSON(c, http.StatusOK, session.encode())
}

// exchange takes the steps in their order. With an error, the session is nil unless
// it is known whose code was refused.
func (s *Server) exchange(c *call) (*session, revocations.Outcome, error) {
	ctx := c.Request().Context()
	key, err := s.authorize(c, organizations.ScopeExchange)
	if err != nil {
		return nil, 0, err
	}
	request, err := s.readExchange(c)
	if err != nil {
		return nil, 0, err
	}
	if !s.redeemer.Enabled() {
		return nil, 0, feed.ErrNoRedemptions
	}
	claims, code, err := s.readCode(ctx, key.Organization.ID, request.code)
	if err != nil {
		return nil, 0, err
	}
	session := &session{claimSet: *claims, portalURL: key.Organization.PortalURL()}
	holder, err := s.findHolderOf(ctx, &code)
	switch {
	case errors.Is(err, verify.ErrRevoked):
		return session, 0, errSessionEnded // the customer or the member is gone
	case errors.Is(err, errNoCustomers):
		return session, 0, feed.ErrNoRedemptions
	case err != nil:
		return session, 0, err
	}
	session.customer = holder.customer
	outcome, err := s.redeem(ctx, session, request.redemption, code.ExpiresAt)
	if err != nil {
		return session, outcome, err
	}
	return session, outcome, s.signAgain(ctx, session)
}

// redeem makes sure that the code of a session is used once.
func (s *Server) redeem(ctx context.Context, session *session, redemption string, codeExpiresAt time.Time) (revocations.Outcome, error) {
	// A client that hangs up does not interrupt what others may wait for.
	outcome, err := s.redeemer.Redeem(context.WithoutCancel(ctx), session.organizationID, revocations.Redemption{
		SessionID: session.sessionID,
		Attempt:   revocations.NewAttempt(session.sessionID, redemption),
		DropAt:    codeExpiresAt.Add(revocations.CodeRetention),
	})
	switch {
	case err != nil:
		return outcome, err
	case outcome == revocations.Used:
		return outcome, errCodeUsed
	case outcome == revocations.Late:
		return outcome, errCodeExpired
	}
	return outcome, nil
}

// signAgain signs the token of a session as it was created, or for as long as the
// key that signs now allows.
func (s *Server) signAgain(ctx context.Context, session *session) error {
	now := time.Now()
	key, err := s.signingKey(now)
	if err != nil {
		return err
	}
	if session.expiresAt.After(key.LatestExpiry) {
		session.expiresAt = key.LatestExpiry.UTC().Truncate(time.Second)
		if session.expiresAt.Sub(now) < minLifetime {
			return errOutlives(key)
		}
	}
	session.keyID = key.Public.ID()
	session.token, err = s.sign(ctx, key, &session.claimSet)
	return err
}

// An exchangeRequest is the checked body of a request to exchange a code.
type exchangeRequest struct{ code, redemption string }

// readExchange reads and checks the body of a request to exchange a code.
func (s *Server) readExchange(c *call) (*exchangeRequest, error) {
	body, err := readJSON(c.Response(), c.Request())
	if err != nil {
		return nil, err
	}
	var d decoder
	var request exchangeRequest
	offset, err := ijson.Members(body, bodyLimits(), func(name []byte, v ijson.Value) error {
		if v.Kind() == ijson.Null {
			return nil
		}
		switch string(name) {
		case "code":
			request.code, _ = d.text(v, "code")
		case "redemption":
			request.redemption, _ = d.text(v, "redemption")
		}
		return nil
	})
	if err != nil {
		return nil, notAnObject(body, offset, err)
	}
	d.completeExchange(&request)
	if d.invalid != nil {
		return nil, d.invalid
	}
	return &request, nil
}

// completeExchange checks that nothing is missing.
func (d *decoder) completeExchange(r *exchangeRequest) {
	if d.invalid != nil {
		return
	}
	if r.code == "" {
		d.add("missing", "Field required", "code")
	}
	switch n := len(r.redemption); {
	case n == 0:
		d.add("missing", "Field required", "redemption")
	case n < minRedemption:
		d.add("string_too_short", fmt.Sprintf("String should have at least %d characters, at random", minRedemption), "redemption")
	case n > maxRedemption:
		d.add("string_too_long", fmt.Sprintf("String should have at most %d characters", maxRedemption), "redemption")
	}
}

// Results of exchanging codes, for the metric and the audit event.
const (
	exchangeDone        = "exchanged"
	exchangeRepeated    = "repeated"
	exchangeUsed        = "used"
	exchangeExpired     = "expired"
	exchangeInvalid     = "invalid"
	exchangeEnded       = "ended"
	exchangeOff         = "off"
	exchangeUnavailable = "unavailable"
	exchangeRefused     = "refused"
)

func exchangeResults() []string {
	return []string{
		exchangeDone, exchangeRepeated, exchangeUsed, exchangeExpired, exchangeInvalid,
		exchangeEnded, exchangeOff, exchangeUnavailable, exchangeRefused,
	}
}

// exchangeResult is the result of a call: exchangeRefused if there was no code to
// judge.
func (s *Server) exchangeResult(outcome revocations.Outcome, err error) string {
	switch {
	case err == nil && outcome == revocations.Repeated:
		return exchangeRepeated
	case err == nil:
		return exchangeDone
	}
	for _, row := range []struct {
		err    error
		result string
	}{
		{errCodeUsed, exchangeUsed},
		{errCodeExpired, exchangeExpired},
		{errCodeInvalid, exchangeInvalid},
		{errSessionEnded, exchangeEnded},
		{feed.ErrNoRedemptions, exchangeOff},
	} {
		if errors.Is(err, row.err) {
			return row.result
		}
	}
	if s.refusals.refuse(err).status >= http.StatusInternalServerError {
		return exchangeUnavailable
	}
	return exchangeRefused
}

// auditExchange records what became of a code: one event for each that was, or may
// have been, redeemed, or that was used again.
func (s *Server) auditExchange(c *call, session *session, result string) {
	s.metrics.exchanges.WithLabelValues(result).Inc()
	level := slog.LevelInfo
	switch {
	case session == nil || result == exchangeEnded || result == exchangeOff:
		return
	case result != exchangeDone && result != exchangeRepeated:
		level = slog.LevelWarn
	}
	s.log(c.Request().Context(), level, "session exchanged",
		slog.String("request_id", c.requestID),
		slog.String("outcome", result),
		slog.String("organization_id", session.organizationID.String()),
		slog.String("api_key", c.caller.Name),
		slog.String("client_id", c.caller.ClientID),
		slog.String("session_id", session.sessionID.String()),
		slog.String("customer_id", session.customerID.String()),
	)
}
