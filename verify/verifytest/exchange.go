package verifytest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// APIKey is the API key that the issuer accepts to exchange a code.
const APIKey = "csk_verifytest"

const (
	codeLifetime = 10 * time.Minute
	// again is how long the same redemption gets the same session again.
	again = time.Minute
)

// A redemption is the first exchange of a code.
type redemption struct {
	id    string
	at    time.Time
	token string
}

// Code returns a code for a link, which [Issuer.Handler] exchanges for the token of
// a session, once. It is good for ten minutes, or until the session ends. The spec
// is that of the session.
func (i *Issuer) Code(spec TokenSpec) string {
	if spec.IssuedAt.IsZero() {
		spec.IssuedAt = time.Now()
	}
	if spec.Lifetime == 0 {
		spec.Lifetime = time.Hour
	}
	spec.Header = with(map[string]any{"typ": wire.CodeType}, spec.Header)
	spec.Claims = with(map[string]any{
		wire.ClaimAudience:         i.url,
		wire.ClaimSessionExpiresAt: spec.IssuedAt.Add(spec.Lifetime).Unix(),
		wire.ClaimScope:            nil,
	}, spec.Claims)
	spec.Lifetime = min(spec.Lifetime, codeLifetime)
	return i.Token(spec)
}

// with returns members with changes.
func with(members, changes map[string]any) map[string]any {
	maps.Copy(members, changes)
	return members
}

// Recoveries returns how often the issuer was asked to send a new link, with an
// expired token or a code of its own.
func (i *Issuer) Recoveries() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.recoveries
}

// serveExchange exchanges a code.
func (i *Issuer) serveExchange(w http.ResponseWriter, r *http.Request) {
	if key, err := verify.BearerToken(r.Header); err != nil || key != APIKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var asked struct{ Code, Redemption string }
	if json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&asked) != nil || asked.Redemption == "" {
		refuseCode(w, "missing")
		return
	}
	_, err := i.verifierOf(wire.CodeType, i.url).Verify(r.Context(), asked.Code)
	switch {
	case errors.Is(err, verify.ErrExpired):
		refuseCode(w, "code_expired")
		return
	case errors.Is(err, verify.ErrRevoked):
		refuseCode(w, "session_ended")
		return
	case err != nil:
		refuseCode(w, "code_invalid")
		return
	}
	token := i.redeem(asked.Code, asked.Redemption)
	if token == "" {
		refuseCode(w, "code_used")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(must(json.Marshal(map[string]any{"token": token})))
}

// redeem returns the token for a code, or "" if the code has been used.
func (i *Issuer) redeem(code, id string) string {
	i.mu.Lock()
	first, used := i.redeemed[code]
	i.mu.Unlock()
	switch {
	case used && first.id == id && time.Since(first.at) < again:
		return first.token
	case used:
		return ""
	}
	token := i.Token(TokenSpec{Claims: i.sessionClaims(code)})
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, used := i.redeemed[code]; used {
		return ""
	}
	i.redeemed[code] = redemption{id, time.Now(), token}
	return token
}

// sessionClaims returns the claims of the session that a code stands for, as
// changes of a good token.
func (i *Issuer) sessionClaims(code string) map[string]any {
	var claims map[string]any
	payload := must(base64.RawURLEncoding.DecodeString(strings.Split(code, ".")[1]))
	if err := json.Unmarshal(payload, &claims); err != nil {
		panic(err)
	}
	claims[wire.ClaimExpiresAt] = int64(claims[wire.ClaimSessionExpiresAt].(float64)) //nolint:forcetypeassert // of our own
	claims[wire.ClaimIssuedAt] = int64(claims[wire.ClaimIssuedAt].(float64))          //nolint:forcetypeassert // of our own
	claims[wire.ClaimAudience], claims[wire.ClaimScope] = i.audience, wire.Scope
	delete(claims, wire.ClaimSessionExpiresAt)
	if claims[wire.ClaimReturnURL] == nil {
		claims[wire.ClaimReturnURL] = nil // none, rather than the default
	}
	return claims
}

// refuseCode answers as a customersession server.
func refuseCode(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_, _ = w.Write(must(json.Marshal(map[string]any{
		"error":  "PolarRequestValidationError",
		"detail": []map[string]any{{"type": kind, "loc": []string{"body", "code"}, "msg": "The code is not accepted."}},
	})))
}

// serveRecover answers a request for a new link.
func (i *Issuer) serveRecover(w http.ResponseWriter, r *http.Request) {
	bearer, err := verify.BearerToken(r.Header)
	if err == nil {
		_, err = i.verifierOf(wire.CodeType, i.url).Verify(r.Context(), bearer)
		if errors.Is(err, verify.ErrType) {
			if _, err = i.verifierOf("", i.audience).Verify(r.Context(), bearer); err == nil {
				err = verify.ErrClaims // a token that is still good needs no link
			}
		}
	}
	if err != nil && !errors.Is(err, verify.ErrExpired) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	i.mu.Lock()
	i.recoveries++
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte("{}\n"))
}

// verifierOf returns a verifier for what this issuer signs.
func (i *Issuer) verifierOf(tokenType, audience string) *verify.Verifier {
	return must(verify.New(verify.Config{
		Issuer: i.url, Audience: audience, TokenType: tokenType, Algorithms: i.algorithms,
		Keys: must(jwk.ParseSet(i.JWKSet())), IsRevoked: i.ended,
	}))
}
