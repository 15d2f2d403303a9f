package verify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

// endTimeout is how long a sign-out waits for the issuer.
const endTimeout = 2 * time.Second

// endPath is the path of the call that ends the session of a token.
const endPath = "/v1/customer-portal/customer-session"

// endSession ends the session of a request's cookie: here first, and then at the
// issuer.
func (v *Verifier) endSession(r *http.Request) {
	token, err := cookieToken(r)
	if v.feed == nil || err != nil {
		return
	}
	// The browser may leave: the session must end all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), endTimeout)
	defer cancel()
	known, _, err := v.examine(ctx, token)
	switch {
	case err == nil:
		session := &known.claims.session
		if feed, _ := v.feed.Peek(); judgeBy(feed, nil, &known.subject, session.KeyID) != nil {
			return // it has ended already
		}
		// Whether it had ended may not be known now: this must be, later on.
		v.feed.Refuse(wire.Revocation{
			Scope:  wire.RevokeSession,
			ID:     wire.NewRevocationID(wire.RevokeSession, session.OrganizationID, session.ID),
			DropAt: known.deadline.Unix() + 1,
		})
	case !errors.Is(err, ErrKeysUnavailable):
		return // it was none
	}
	if v.issuerURL == "" {
		return
	}
	if problem := v.endAtIssuer(ctx, token); problem != "" {
		v.logger.LogAttrs(ctx, slog.LevelWarn, "cannot end a session at the issuer; other services accept it until it expires",
			slog.String("url", v.issuerURL+endPath), slog.String("error", problem))
	}
}

// endAtIssuer ends the session of a token. It returns what went wrong, without
// anything that was sent or received.
func (v *Verifier) endAtIssuer(ctx context.Context, token string) (problem string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, v.issuerURL+endPath, http.NoBody)
	if err != nil {
		return "connection"
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := v.client.Do(request)
	if err != nil {
		return networkProblem(err)
	}
	// What is read lets the connection be used again.
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10)
	_ = response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusNoContent, http.StatusUnauthorized:
		// 401: the issuer does not accept the token any more.
		return ""
	default:
		return "status " + strconv.Itoa(response.StatusCode)
	}
}
