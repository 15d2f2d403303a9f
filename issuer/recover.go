package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/webhook"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

const (
	// recoverRate and recoverBurst limit the calls with the token of one session: 5
	// at once, and 5 an hour.
	recoverRate  = 5 / 3600.
	recoverBurst = 5
	// recoverPatience is how long the customer directory has. With that and the tries
	// of the webhook, an answer takes less than writeTimeout.
	recoverPatience = 5 * time.Second

	recoverEvent = "customer_session.recovery_requested"
)

// Why no new link is asked for.
var (
	errTooOld      = fmt.Errorf("%w: too long ago", verify.ErrExpired)
	errWebhook     = errors.New("the recovery webhook failed")
	errWebhookBusy = errors.New("the recovery webhook is busy")
)

// noRecoveryError is the error for a session whose organization sends no new links.
type noRecoveryError struct{ supportURL string }

func (e *noRecoveryError) Error() string { return "the organization has no recovery" }

// recoverSession answers POST /v1/customer-portal/customer-session/recover: the
// organization hears that a customer wants a new link. An old token proves whom to
// write to, never who is asking, so the answer says nothing about the customer.
func (s *Server) recoverSession(c *call) error {
	session, err := s.recoverable(c)
	if err != nil {
		return err
	}
	organization, err := s.recovers(c, &session)
	if err != nil {
		return err
	}
	// A customer who leaves the page still wants the link.
	ctx := context.WithoutCancel(c.Request().Context())
	err = s.requestLink(ctx, organization, &session)
	s.auditRecovery(c, &session, err)
	if err != nil {
		return err
	}
	noStore(c)
	return writeJSON(c, http.StatusAccepted, []byte("{}"))
}

// recoverable returns the session of the token or the code in the request, which may
// have expired, and is all right otherwise.
func (s *Server) recoverable(c *call) (verify.Session, error) {
	return s.heldSession(c, func(ctx context.Context, token string) (verify.Session, error) {
		session, err := s.recovery.session(ctx, token)
		if err == nil {
			err = s.checkEnded(&session)
		}
		return session, err
	}, s.recoverLimit)
}

// recovers returns the organization of a session, which still sends a new link for
// it.
func (s *Server) recovers(c *call, session *verify.Session) (*organizations.Organization, error) {
	id, err := uuid.Parse(session.OrganizationID)
	if err != nil {
		return nil, err
	}
	organization := s.organizations().Organization(id)
	switch {
	case organization == nil:
		return nil, &noRecoveryError{}
	case organization.Recovery == nil:
		return nil, &noRecoveryError{organization.SupportURL}
	case time.Since(session.ExpiresAt) > organization.Recovery.MaxAge:
		return nil, s.refuseAnonymous(c, errTooOld)
	}
	return organization, nil
}

// requestLink sends the event to the organization.
func (s *Server) requestLink(ctx context.Context, organization *organizations.Organization, session *verify.Session) error {
	externalID, err := s.externalID(ctx, session)
	if err != nil {
		return err
	}
	event, err := newRecoveryEvent(session, externalID, time.Now())
	if err != nil {
		return err
	}
	recovery := organization.Recovery
	secret, err := s.webhookSecret(recovery.SecretFile)
	if err == nil {
		err = s.webhooks.Send(ctx, &webhook.Hook{OrganizationID: organization.ID, URL: recovery.WebhookURL, Secret: secret}, event)
	}
	switch {
	case errors.Is(err, webhook.ErrBusy):
		return fmt.Errorf("%w: %w", errWebhookBusy, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errWebhook, err)
	}
	return nil
}

// externalID returns the external ID of a session's customer, nil if there is none
// or no such customer. Whether there is one shows in no answer.
func (s *Server) externalID(ctx context.Context, session *verify.Session) (*string, error) {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	holder, err := s.findHolderOf(ctx, session)
	switch {
	case errors.Is(err, customers.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, nil // not a customer of this directory, or not any more
	}
	return holder.customer.ExternalID, nil
}

// recoveryEvent is the body of the event, by Standard Webhooks, "Payload structure".
type recoveryEvent struct {
	Type      string       `json:"type"`
	Timestamp time.Time    `json:"timestamp"`
	Data      recoveryData `json:"data"`
}

// recoveryData says whose session it was. It holds no token and no link.
type recoveryData struct {
	OrganizationID     string    `json:"organization_id"`
	CustomerID         string    `json:"customer_id"`
	ExternalCustomerID *string   `json:"external_customer_id"`
	MemberID           *string   `json:"member_id"`
	SessionID          string    `json:"session_id"`
	IssuedAt           time.Time `json:"issued_at"`
	ReturnURL          *string   `json:"return_url"`
}

func newRecoveryEvent(session *verify.Session, externalID *string, now time.Time) (*webhook.Event, error) {
	body, err := json.Marshal(recoveryEvent{
		Type: recoverEvent, Timestamp: now.UTC().Truncate(time.Second),
		Data: recoveryData{
			OrganizationID: session.OrganizationID,
			CustomerID:     session.CustomerID, ExternalCustomerID: externalID, MemberID: nullable(session.MemberID),
			SessionID: session.ID, IssuedAt: session.IssuedAt, ReturnURL: nullable(session.ReturnURL),
		},
	})
	return &webhook.Event{ID: recoveryID(session, now), Body: body}, err
}

// recoveryID is the same for one customer or member and hour at every replica, so
// that a receiver who handles the first of equal events sends one mail an hour.
func recoveryID(session *verify.Session, now time.Time) string {
	hour := strconv.FormatInt(now.Unix()/3600, 10)
	parts := []string{recoverEvent, session.OrganizationID, session.CustomerID, session.MemberID, hour}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "msg_" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// Results of asking for a new link, for the metric and the audit event.
const (
	recoverySent        = "sent"
	recoveryFailed      = "failed"
	recoveryBusy        = "busy"
	recoveryNoDirectory = "no_directory"
)

func recoveryResult(err error) string {
	switch {
	case err == nil:
		return recoverySent
	case errors.Is(err, errWebhookBusy):
		return recoveryBusy
	case errors.Is(err, customers.ErrUnavailable):
		return recoveryNoDirectory
	default:
		return recoveryFailed
	}
}

// auditRecovery records whose new link was asked for.
func (s *Server) auditRecovery(c *call, session *verify.Session, err error) {
	result := recoveryResult(err)
	s.metrics.recoveries.WithLabelValues(result).Inc()
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("request_id", c.requestID),
		slog.String("outcome", result),
		slog.String("organization_id", session.OrganizationID),
		slog.String("session_id", session.ID),
		slog.String("customer_id", session.CustomerID),
	}
	if session.MemberID != "" {
		attrs = append(attrs, slog.String("member_id", session.MemberID))
	}
	s.log(c.Request().Context(), level, "recovery requested", attrs...)
}

// A recoveryVerifier verifies what may ask for a new link.
type recoveryVerifier struct {
	tokens, codes *verify.Verifier
}

// newRecoveryVerifier returns the verifier. A code is for the issuer itself.
func newRecoveryVerifier(config verify.Config) (*recoveryVerifier, error) {
	// What has expired is not cached anyway.
	config.CacheSize = -1
	tokens, err := verify.New(config)
	if err != nil {
		return nil, err
	}
	config.TokenType, config.Audience = wire.CodeType, config.Issuer
	codes, err := verify.New(config)
	return &recoveryVerifier{tokens, codes}, err
}

// session returns the session of a token or a code with nothing wrong but its
// expiry, if that. The error is one of package verify.
func (v *recoveryVerifier) session(ctx context.Context, token string) (verify.Session, error) {
	session, err := v.tokens.Verify(ctx, token)
	if errors.Is(err, verify.ErrType) {
		session, err = v.codes.Verify(ctx, token)
	}
	if expired, ok := errors.AsType[*verify.ExpiredError](err); ok {
		return expired.Session, nil
	}
	return session, err
}
