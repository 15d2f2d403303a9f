package verify_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	good := s.token(t, s.header(), payload())
	expired := s.token(t, s.header(), `{}`)
	const challenge = `Bearer realm="customersession"`
	for _, tc := range []struct {
		name      string
		headers   []string
		target    string
		status    int
		challenge string
	}{
		{"good", []string{"Bearer " + good}, "/", 200, ""},
		{"scheme in lower case", []string{"bearer " + good}, "/", 200, ""},
		{"two spaces", []string{"Bearer  " + good}, "/", 200, ""},
		{"no header", nil, "/", 401, challenge},
		{"empty header", []string{""}, "/", 401, challenge},
		{"other scheme", []string{"Basic dTpw"}, "/", 401, challenge},
		{"scheme run together", []string{"Bearer" + good}, "/", 401, challenge},
		{"token in the query", nil, "/?access_token=" + good + "&customer_session_token=" + good, 401, challenge},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, "/", 400, challenge + `, error="invalid_request"`},
		{"nothing after Bearer", []string{"Bearer"}, "/", 400, challenge + `, error="invalid_request"`},
		{"space after Bearer", []string{"Bearer "}, "/", 400, challenge + `, error="invalid_request"`},
		{"text after the token", []string{"Bearer " + good + " x"}, "/", 400, challenge + `, error="invalid_request"`},
		{"two tokens", []string{"Bearer " + good + ",Bearer " + good}, "/", 400, challenge + `, error="invalid_request"`},
		{"bad token", []string{"Bearer x.y.z"}, "/", 401, challenge + `, error="invalid_token"`},
		{"bad claims", []string{"Bearer " + expired}, "/", 401, challenge + `, error="invalid_token"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var called bool
			handler := newVerifier(t, s).Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				called = true
				if session, ok := verify.FromContext(r.Context()); !ok || session.CustomerID != customerID {
					t.Errorf("got session %+v, %t", session, ok)
				}
				if token, ok := verify.Token(r.Context()); !ok || token != good {
					t.Errorf("the context has another token than the request, or none: %t", ok)
				}
			}))
			r := httptest.NewRequest(http.MethodGet, tc.target, http.NoBody)
			if tc.headers != nil {
				r.Header["Authorization"] = tc.headers
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != tc.status || called != (tc.status == 200) {
				t.Errorf("got %d, called %t, want %d", w.Code, called, tc.status)
			}
			got := w.Header().Get("WWW-Authenticate")
			if (tc.challenge == "") != (got == "") || !strings.HasPrefix(got, tc.challenge) {
				t.Errorf("got challenge %q, want %q", got, tc.challenge)
			}
			if tc.challenge == challenge && got != challenge {
				t.Errorf("a request without a token got an error code: %q", got)
			}
			if w.Code != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the refusal may be cached")
			}
		})
	}
}

func TestMiddlewareConfig(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	good := "Bearer " + s.token(t, s.header(), payload())
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := verify.FromContext(r.Context()); ok {
			w.Header().Set("X-Session", "yes")
		}
	})
	write := func(status int, body string) func(http.ResponseWriter, *http.Request, error) {
		return func(w http.ResponseWriter, _ *http.Request, _ error) {
			if status != 0 {
				w.WriteHeader(status)
			}
			if body != "" {
				_, _ = w.Write([]byte(body))
			}
		}
	}
	for _, tc := range []struct {
		name, authorization string
		config              verify.MiddlewareConfig
		status              int
		session             bool
		body                string
	}{
		{name: "optional, none", config: verify.MiddlewareConfig{Optional: true}, status: 200},
		{name: "optional, good", authorization: good, config: verify.MiddlewareConfig{Optional: true}, status: 200, session: true},
		{name: "optional, bad", authorization: "Bearer a.b.c", config: verify.MiddlewareConfig{Optional: true}, status: 401},
		{name: "optional, empty", authorization: "Bearer ", config: verify.MiddlewareConfig{Optional: true}, status: 400},
		{name: "scope", authorization: good, config: verify.MiddlewareConfig{Scopes: []string{wire.Scope}}, status: 200, session: true},
		{name: "scope missing", authorization: good, config: verify.MiddlewareConfig{Scopes: []string{wire.Scope, "admin"}}, status: 403},
		{name: "own page", config: verify.MiddlewareConfig{OnError: write(404, "who?")}, status: 404, body: "who?"},
		{name: "redirect", config: verify.MiddlewareConfig{OnError: write(303, "")}, status: 303},
		{name: "own page without a status", config: verify.MiddlewareConfig{OnError: write(0, "who?")}, status: 401, body: "who?"},
		{name: "own page with success", config: verify.MiddlewareConfig{OnError: write(200, "who?")}, status: 401, body: "who?"},
		{name: "nothing written", config: verify.MiddlewareConfig{OnError: write(0, "")}, status: 401},
		{name: "scope missing, success", authorization: good, config: verify.MiddlewareConfig{Scopes: []string{"admin"}, OnError: write(204, "")}, status: 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			if tc.authorization != "" {
				r.Header.Set("Authorization", tc.authorization)
			}
			w := httptest.NewRecorder()
			v.NewMiddleware(tc.config)(page).ServeHTTP(w, r)
			if w.Code != tc.status || (w.Header().Get("X-Session") != "") != tc.session {
				t.Errorf("got %d, session %q", w.Code, w.Header().Get("X-Session"))
			}
			if tc.body != "" && w.Body.String() != tc.body {
				t.Errorf("got body %q", w.Body)
			}
			if tc.status == 403 && !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="insufficient_scope"`) {
				t.Errorf("got challenge %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

// unavailable is a key source during an outage.
type unavailable struct{}

func (unavailable) Key(context.Context, string) (*jwk.Key, error) {
	return nil, verify.ErrKeysUnavailable
}

func TestMiddlewareDuringAnOutage(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+s.token(t, s.header(), payload()))
	w := httptest.NewRecorder()
	newVerifier(t, unavailable{}).Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("got %d with %v, want 503 with Retry-After and no challenge", w.Code, w.Header())
	}
}

func TestFromContextWithoutSession(t *testing.T) {
	t.Parallel()
	if _, ok := verify.FromContext(t.Context()); ok {
		t.Error("an empty context has a session")
	}
	if _, ok := verify.Token(t.Context()); ok {
		t.Error("an empty context has a token")
	}
}

// The token in a context is that of the session in it, and nobody prints it by
// accident.
func TestTokenInContext(t *testing.T) {
	t.Parallel()
	ctx := verify.NewContextWithToken(t.Context(), verify.Session{ID: "first"}, "SECRET")
	if token, ok := verify.Token(ctx); !ok || token != "SECRET" {
		t.Errorf("got %q, %t, want the token", token, ok)
	}
	other := verify.NewContext(ctx, verify.Session{ID: "second"})
	if token, ok := verify.Token(other); ok {
		t.Errorf("a session without a token has that of another one: %q", token)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if printed := fmt.Sprintf(verb, ctx); strings.Contains(printed, "SECRET") {
			t.Errorf("%s of the context shows the token: %s", verb, printed)
		}
	}
}
