package verify

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Reasons why a request has no usable bearer token (RFC 6750, Section 3.1).
var (
	// ErrNoToken means that the request did not try: 401 without a code.
	ErrNoToken = errors.New("verify: request has no bearer token")
	// ErrInvalidRequest means that it tried in a way nobody should guess at:
	// 400 invalid_request.
	ErrInvalidRequest = errors.New("verify: Authorization header is ambiguous or malformed")
)

// BearerToken returns the token of an Authorization header (RFC 6750, Section
// 2.1). The error is [ErrNoToken] or [ErrInvalidRequest].
func BearerToken(header http.Header) (string, error) {
	values := header["Authorization"]
	switch len(values) {
	case 0:
		return "", ErrNoToken
	case 1:
	default:
		return "", ErrInvalidRequest
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoToken
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || strings.ContainsAny(token, " \t,") {
		return "", ErrInvalidRequest
	}
	return token, nil
}

// sessionKey is the key of a request's session in its context.
type sessionKey struct{}

// NewContext returns a context that carries session.
func NewContext(ctx context.Context, session Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, session)
}

// FromContext returns the session that [Verifier.Middleware] put into the
// request's context; ok is false when there is none.
func FromContext(ctx context.Context) (session Session, ok bool) {
	session, ok = ctx.Value(sessionKey{}).(Session)
	return session, ok
}

// Middleware lets only requests with a valid bearer token through to next,
// which finds the session with [FromContext]. Others get the answers of RFC
// 6750, Section 3: 401 with a challenge, 400 for a header that cannot be read,
// and 503 with Retry-After when keys are unavailable.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := BearerToken(r.Header)
		if err != nil {
			v.deny(w, err)
			return
		}
		session, err := v.Verify(r.Context(), token)
		if err != nil {
			v.deny(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), session)))
	})
}

// deny answers a request that is not let through. Why a token is bad is
// nobody's business but the operator's: one answer for every reason.
func (v *Verifier) deny(w http.ResponseWriter, err error) {
	status, code, description := http.StatusUnauthorized, "invalid_token", "The token is not valid here"
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		w.Header().Set("Retry-After", "30")
		writeError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "Tokens cannot be verified at the moment")
		return
	case errors.Is(err, ErrNoToken):
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+v.realm+`"`)
		writeError(w, status, "unauthorized", "A bearer token is required")
		return
	case errors.Is(err, ErrInvalidRequest):
		status, code, description = http.StatusBadRequest, "invalid_request", "The Authorization header cannot be read"
	}
	w.Header().Set("WWW-Authenticate",
		`Bearer realm="`+v.realm+`", error="`+code+`", error_description="`+description+`"`)
	writeError(w, status, code, description)
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone when this fails; there is nobody left to tell.
	_, _ = w.Write([]byte(`{"error":"` + code + `","error_description":"` + description + `"}` + "\n"))
}
