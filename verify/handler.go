package verify

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Reasons for denying a request that are not about its token.
var (
	// ErrNoToken means that the request does not try to authenticate: 401
	// without an error code (RFC 6750, Section 3.1).
	ErrNoToken = errors.New("verify: request has no bearer token")
	// ErrInvalidRequest means that its credentials are ambiguous or
	// malformed: 400 invalid_request.
	ErrInvalidRequest = errors.New("verify: credentials are ambiguous or malformed")
	// ErrScope means that the session does not allow the request: 403
	// insufficient_scope.
	ErrScope = errors.New("verify: session lacks a scope")
	// ErrCrossOrigin means that a page of another site sent the request with
	// our cookie: 403.
	ErrCrossOrigin = errors.New("verify: request comes from another origin")
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

// signedInKey is the key of what a context carries of its request.
type signedInKey struct{}

// signedIn is what a context carries, as a pointer: so package fmt shows its address
// and not the token.
type signedIn struct {
	session Session
	token   string
}

// NewContext returns a context that carries session, and no token.
func NewContext(ctx context.Context, session Session) context.Context {
	return NewContextWithToken(ctx, session, "")
}

// NewContextWithToken returns a context that carries session and its token, for
// middleware of another framework.
func NewContextWithToken(ctx context.Context, session Session, token string) context.Context {
	return context.WithValue(ctx, signedInKey{}, &signedIn{session, token})
}

// FromContext returns the session that a middleware put into the context of a
// request; ok is false when there is none.
func FromContext(ctx context.Context) (session Session, ok bool) {
	carried, ok := ctx.Value(signedInKey{}).(*signedIn)
	if !ok {
		return Session{}, false
	}
	return carried.session, true
}

// Token returns the token of the session that a middleware put into the context of
// a request, for code that calls the issuer; ok is false when there is none. It is
// as good as a password until it expires: do not log it, and send it only to the
// issuer.
// [Verifier.User] needs only the context.
func Token(ctx context.Context) (token string, ok bool) {
	carried, ok := ctx.Value(signedInKey{}).(*signedIn)
	if !ok {
		return "", false
	}
	return carried.token, carried.token != ""
}

// MiddlewareConfig says which requests a middleware passes on. The zero value
// passes on those with a valid bearer token.
type MiddlewareConfig struct {
	// Optional also passes on requests without credentials, without a
	// session. Bad credentials are refused all the same, so that the client
	// learns that they are bad.
	Optional bool
	// Scopes lists the scopes that the session must have.
	Scopes []string
	// Cookie accepts the cookie of [Verifier.NewSignIn] where there is no
	// Authorization header. Requests that change something must then come from a
	// page of the same origin (see [http.CrossOriginProtection]), because a browser
	// sends cookies with requests of any page. A WebSocket handshake, by CONNECT
	// too, must also say so: without Origin and Sec-Fetch-Site it is refused.
	// Programs send a bearer token instead.
	Cookie bool
	// MaxRevocationAge is how old the knowledge of ended sessions may be for this
	// handler, if that is less than elsewhere: a page that moves money may demand
	// a minute. The verifier then asks the issuer at least four times in that
	// age. It has no effect where no feed is followed. Default: as
	// Config.MaxRevocationAge.
	MaxRevocationAge time.Duration
	// OnError answers a denied request, with a page for example. The headers
	// of the default answer are already set. Whatever OnError does, the
	// request is denied: without a status, or with one of success, the answer
	// has the default status. Default: a short JSON text.
	OnError func(w http.ResponseWriter, r *http.Request, err error)
}

// Middleware passes requests with a valid bearer token on to next, which finds
// the session with [FromContext] and its token with [Token]. Other requests get the answers of RFC 6750,
// Section 3: 401 with a challenge, 400 for a header that cannot be read, and
// 503 with Retry-After when keys or revocations are unavailable.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return v.NewMiddleware(MiddlewareConfig{})(next)
}

// NewMiddleware returns a middleware that passes on the requests that config
// allows. See [Verifier.Middleware] for the answers to others; a session
// without a required scope gets 403. NewMiddleware panics when
// config.MaxRevocationAge is negative, or less than a second but not 0: no feed can
// keep that, and the handler would answer 503.
func (v *Verifier) NewMiddleware(config MiddlewareConfig) func(http.Handler) http.Handler {
	if config.MaxRevocationAge != 0 && config.MaxRevocationAge < time.Second {
		panic("verify: MiddlewareConfig.MaxRevocationAge is less than a second")
	}
	config.Scopes = slices.Clone(config.Scopes)
	if v.feed != nil && config.MaxRevocationAge > 0 {
		v.feed.Demand(config.MaxRevocationAge)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, token, err := v.authenticate(r, &config)
			if config.Cookie && isStale(r, err) {
				removeCookie(w, r)
			}
			switch {
			case err == nil:
				next.ServeHTTP(w, r.WithContext(NewContextWithToken(r.Context(), session, token)))
			case config.Optional && errors.Is(err, ErrNoToken):
				next.ServeHTTP(w, r)
			default:
				v.deny(w, r, err, &config)
			}
		})
	}
}

// authenticate returns the session of a request that config allows, and its token.
func (v *Verifier) authenticate(r *http.Request, config *MiddlewareConfig) (session Session, token string, err error) {
	token, err = BearerToken(r.Header)
	if config.Cookie && len(r.Header["Authorization"]) == 0 {
		token, err = cookieToken(r)
	}
	if err != nil {
		return Session{}, "", err
	}
	session, err = v.verifyWithin(r.Context(), token, config.MaxRevocationAge)
	if err != nil {
		return Session{}, "", err
	}
	for _, scope := range config.Scopes {
		if !session.HasScope(scope) {
			return Session{}, "", ErrScope
		}
	}
	return session, token, nil
}

// isStale reports whether a request is denied because the token of its cookie is
// no good and never will be.
func isStale(r *http.Request, err error) bool {
	for _, other := range []error{ErrNoToken, ErrInvalidRequest, ErrScope, ErrCrossOrigin} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil && len(r.Header["Authorization"]) == 0 && !cannotTell(err)
}

// A denial is the default answer to a denied request.
type denial struct {
	status            int
	code, description string
	// challenge has parameters after the realm; with none, only a realm.
	challenge, bare bool
}

// denialFor is the table of denials. A bad token gets one answer, whatever the
// reason: only the operator should learn that.
func denialFor(err error) denial {
	switch {
	case cannotTell(err), errors.Is(err, ErrIssuerUnavailable):
		return denial{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: "Tokens cannot be verified at the moment"}
	case errors.Is(err, ErrNoToken):
		return denial{status: http.StatusUnauthorized, code: "unauthorized", description: "A bearer token is required", bare: true}
	case errors.Is(err, ErrInvalidRequest):
		return denial{status: http.StatusBadRequest, code: "invalid_request", description: "The credentials cannot be read", challenge: true}
	case errors.Is(err, ErrScope):
		return denial{status: http.StatusForbidden, code: "insufficient_scope", description: "The session does not allow this", challenge: true}
	case errors.Is(err, ErrCrossOrigin):
		return denial{status: http.StatusForbidden, code: "cross_origin", description: "The request comes from another site"}
	case errors.Is(err, ErrNotNavigation):
		return denial{status: http.StatusForbidden, code: "not_a_navigation", description: "The link must be opened as a page"}
	case errors.Is(err, ErrPlainHTTP):
		return denial{status: http.StatusForbidden, code: "insecure", description: "Sign-in needs https"}
	case errors.Is(err, ErrCookieSize):
		return denial{status: http.StatusInternalServerError, code: "server_error", description: "The token is too long for a cookie"}
	case errors.Is(err, ErrNoRecovery):
		return denial{status: http.StatusNotFound, code: "no_recovery", description: "No new link can be sent"}
	case errors.Is(err, ErrRateLimited):
		return denial{status: http.StatusTooManyRequests, code: "rate_limited", description: "Too many new links were asked for"}
	default:
		return denial{status: http.StatusUnauthorized, code: "invalid_token", description: "The token is not valid here", challenge: true}
	}
}

// deny answers a request that is denied.
func (v *Verifier) deny(w http.ResponseWriter, r *http.Request, err error, config *MiddlewareConfig) {
	d := denialFor(err)
	w.Header().Set("Cache-Control", "no-store")
	v.challenge(w.Header(), &d, config.Scopes)
	if config.OnError == nil {
		d.write(w)
		return
	}
	guarded := &deniedWriter{ResponseWriter: w, status: d.status}
	config.OnError(guarded, r, err)
	if !guarded.wrote {
		d.write(w)
	}
}

// challenge sets the headers that go with the status of a denial.
func (v *Verifier) challenge(header http.Header, d *denial, scopes []string) {
	switch {
	case d.bare:
		header.Set("WWW-Authenticate", `Bearer realm="`+v.realm+`"`)
	case d.challenge:
		challenge := `Bearer realm="` + v.realm + `", error="` + d.code + `", error_description="` + d.description + `"`
		if d.status == http.StatusForbidden {
			challenge += `, scope="` + strings.Join(scopes, " ") + `"`
		}
		header.Set("WWW-Authenticate", challenge)
	case d.status == http.StatusServiceUnavailable:
		header.Set("Retry-After", "30")
	}
}

func (d denial) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(d.status)
	// An error means that the client is gone.
	_, _ = w.Write([]byte(`{"error":"` + d.code + `","error_description":"` + d.description + `"}` + "\n"))
}

// A deniedWriter lets an error handler write anything but success: a gateway in
// front of us may judge by the status alone.
type deniedWriter struct {
	http.ResponseWriter

	status int
	wrote  bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *deniedWriter) WriteHeader(status int) {
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		status = w.status
	}
	w.wrote = w.wrote || status >= http.StatusOK
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *deniedWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(w.status)
	}
	return w.ResponseWriter.Write(b)
}
