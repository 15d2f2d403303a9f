package authz_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// newServer returns a server that trusts an issuer.
func newServer(t *testing.T, issuer *verifytest.Issuer, config authz.Config) *authz.Server {
	t.Helper()
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	config.Verifier = v
	server, err := authz.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// ask returns the answer to a request with pairs of names and values in its
// header.
func ask(handler http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// identity returns the five headers of an answer.
func identity(header http.Header) string {
	var values []string
	for _, name := range []string{
		authz.CustomerIDHeader, authz.SessionIDHeader, authz.OrganizationIDHeader, authz.MemberIDHeader, authz.MemberRoleHeader,
	} {
		values = append(values, strings.Join(header.Values(name), "+"))
	}
	return strings.Join(values, " ")
}

const (
	customer = verifytest.CustomerID + " " + verifytest.SessionID + " " + verifytest.OrganizationID
	memberID = "7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	good := "Bearer " + issuer.Token(verifytest.TokenSpec{})
	member := "Bearer " + issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"member_id": memberID, "role": "owner"}})
	expired := "Bearer " + issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	lies := []string{"X-Customer-Id", "somebody", "X-Session-Id", "s", "X-Organization-Id", "o", "X-Member-Id", "m", "X-Member-Role", "owner"}
	const challenge = `Bearer realm="customersession"`
	for _, test := range []struct {
		name, method string
		config       authz.Config
		header       []string
		status       int
		challenge    string
		member       string
	}{
		{name: "good", header: []string{"Authorization", good}, status: 204},
		{name: "good, by POST", method: http.MethodPost, header: []string{"Authorization", good}, status: 204},
		{name: "good, by another method", method: "PURGE", header: []string{"Authorization", good}, status: 204},
		{name: "for Envoy", config: authz.Config{Status: 200}, header: []string{"Authorization", good}, status: 200},
		{name: "no token", status: 401, challenge: challenge},
		{name: "another scheme", header: []string{"Authorization", "Basic dTpw"}, status: 401, challenge: challenge},
		{name: "expired", header: []string{"Authorization", expired}, status: 401, challenge: challenge + `, error="invalid_token"`},
		{name: "nonsense", header: []string{"Authorization", "Bearer a.b.c"}, status: 401, challenge: challenge + `, error="invalid_token"`},
		{name: "two tokens", header: []string{"Authorization", good, "Authorization", good}, status: 400, challenge: challenge + `, error="invalid_request"`},
		{name: "has the scope", config: authz.Config{Scopes: []string{"customer_portal:write"}}, header: []string{"Authorization", good}, status: 204},
		{name: "lacks a scope", config: authz.Config{Scopes: []string{"admin"}}, header: []string{"Authorization", good}, status: 403, challenge: challenge + `, error="insufficient_scope"`},
		{name: "a cookie that nobody asked for", header: []string{"Cookie", "__Host-customer_session=" + good[7:]}, status: 401, challenge: challenge},
		{name: "an identity without a token", header: lies, status: 401, challenge: challenge},
		{name: "another identity", header: slices.Concat(lies, []string{"Authorization", good}), status: 204},
		{name: "a member", header: []string{"Authorization", member}, status: 204, member: memberID + " owner"},
		{name: "a member with another identity", header: slices.Concat(lies, []string{"Authorization", member}), status: 204, member: memberID + " owner"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			handler := newServer(t, issuer, test.config).Handler()
			got := ask(handler, method, "/any/path?query", test.header...)
			want := "    "
			switch {
			case test.member != "":
				want = customer + " " + test.member
			case test.status < 300:
				want = customer + "  "
			}
			if got.Code != test.status || identity(got.Header()) != want {
				t.Errorf("got %d %q, want %d %q", got.Code, identity(got.Header()), test.status, want)
			}
			if got := got.Header().Get("WWW-Authenticate"); (test.challenge == "") != (got == "") || !strings.HasPrefix(got, test.challenge) {
				t.Errorf("got challenge %q, want %q", got, test.challenge)
			}
			if got := got.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q, want no-store", got)
			}
		})
	}
}

// A cookie is sent along whoever asks for it, so it counts only for requests
// that change nothing or come from a page of the same origin.
func TestHandlerCookie(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	handler := newServer(t, issuer, authz.Config{Cookie: true}).Handler()
	good := issuer.Token(verifytest.TokenSpec{})
	const cross, same, said = "cross-site", "same-origin", "X-Forwarded-Method"
	for _, test := range []struct {
		name, method string
		header       []string
		status       int
	}{
		{"a link on another site", "GET", []string{said, "GET", "Sec-Fetch-Site", cross}, 204},
		{"a form of another site", "GET", []string{said, "POST", "Sec-Fetch-Site", cross}, 403},
		{"a form of another site, old browser", "GET", []string{said, "POST", "Origin", "https://evil.example.com"}, 403},
		{"a form of ours", "GET", []string{said, "POST", "Sec-Fetch-Site", same}, 204},
		{"a form of ours, old browser", "GET", []string{said, "POST", "Origin", "http://portal.example.com"}, 204},
		{"the gateway says nothing", "GET", []string{"Sec-Fetch-Site", cross}, 403},
		{"the gateway says nothing, of ours", "GET", []string{"Sec-Fetch-Site", same}, 204},
		{"asked by the method, and a lie", "POST", []string{said, "GET", "Sec-Fetch-Site", cross}, 403},
		{"two words for it", "GET", []string{said, "GET", said, "POST", "Sec-Fetch-Site", cross}, 403},
		{"a WebSocket of another site", "GET", []string{said, "GET", "Sec-Websocket-Key", "k", "Origin", "https://evil.example.com"}, 403},
		{"a WebSocket of another site, of which the gateway shows little", "GET", []string{said, "GET", "Origin", "https://evil.example.com"}, 403},
		{"a WebSocket of another site, and less", "GET", []string{said, "GET", "Sec-Websocket-Version", "13", "Sec-Fetch-Site", cross}, 403},
		{"a WebSocket of another site, by CONNECT", "GET", []string{said, "CONNECT", "Origin", "https://evil.example.com"}, 403},
		{"a WebSocket of nowhere", "GET", []string{said, "GET", "Sec-Websocket-Key", "k"}, 403},
		{"a WebSocket of nowhere, by Upgrade", "GET", []string{said, "GET", "Upgrade", "websocket"}, 403},
		{"a WebSocket of nowhere, by CONNECT", "GET", []string{said, "CONNECT"}, 403},
		{"a WebSocket of nowhere, by the gateway's CONNECT", "CONNECT", []string{said, "GET"}, 403},
		{"a WebSocket of nowhere, a method of two", "GET", []string{said, "GET", said, "CONNECT"}, 403},
		{"a WebSocket of ours, by CONNECT", "GET", []string{said, "CONNECT", "Origin", "http://portal.example.com"}, 204},
		{"a WebSocket of ours, at a gateway with another Host", "GET", []string{said, "GET", "Upgrade", "websocket", "Origin", "https://public.example.com", "Sec-Fetch-Site", same}, 204},
		{"a script of ours", "GET", []string{said, "GET", "Origin", "http://portal.example.com"}, 204},
		{"a script of another site", "GET", []string{said, "GET", "Origin", "https://evil.example.com"}, 403},
		{"a WebSocket of a program, with a bearer token", "GET", []string{said, "GET", "Upgrade", "websocket", "Sec-Websocket-Key", "k", "Authorization", "Bearer " + good}, 204},
		{"a WebSocket of ours", "GET", []string{said, "GET", "Sec-Websocket-Key", "k", "Origin", "http://portal.example.com"}, 204},
		{"a bad token goes before the cookie", "GET", []string{said, "GET", "Authorization", "Bearer a.b.c"}, 401},
		{"a bearer token needs no origin", "GET", []string{said, "POST", "Sec-Fetch-Site", cross, "Authorization", "Bearer " + good}, 204},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := append([]string{"Cookie", "__Host-customer_session=" + good}, test.header...)
			got := ask(handler, test.method, "http://portal.example.com/", header...)
			if got.Code != test.status {
				t.Errorf("got %d, want %d", got.Code, test.status)
			}
		})
	}
}

// The whole catalogue of attacks, as a gateway would ask.
func TestHandlerConformance(t *testing.T) {
	t.Parallel()
	handler := newServer(t, verifytest.ConformanceIssuer(t), authz.Config{}).Handler()
	verifytest.RunConformance(t, func(_ context.Context, token string) error {
		got := ask(handler, http.MethodGet, "/", "Authorization", "Bearer "+token)
		switch got.Code {
		case http.StatusNoContent:
			return nil
		case http.StatusServiceUnavailable:
			return verify.ErrKeysUnavailable
		default:
			return errors.New(http.StatusText(got.Code))
		}
	})
}

// Without its issuer a server goes on, and then says that it cannot tell.
func TestHandlerOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		handler := newServer(t, issuer, authz.Config{}).Handler()
		good := "Bearer " + issuer.Token(verifytest.TokenSpec{Lifetime: 10 * time.Hour})
		check := func(when string, want int) {
			t.Helper()
			got := ask(handler, http.MethodGet, "/", "Authorization", good)
			if got.Code != want {
				t.Errorf("%s: got %d, want %d", when, got.Code, want)
			}
			if retry := got.Header().Get("Retry-After"); (retry != "") != (want == 503) {
				t.Errorf("%s: got Retry-After %q", when, retry)
			}
		}
		check("at first", 204)
		issuer.Fail(verifytest.Down)
		time.Sleep(verifytest.DefaultMaxAge + time.Hour - time.Minute)
		check("with stale keys", 204)
		time.Sleep(2 * time.Minute)
		check("with keys that are too old", 503)
		issuer.Fail(verifytest.Healthy)
		time.Sleep(time.Minute)
		check("afterwards", 204)
		issuer.FailFeed(verifytest.FeedUnavailable)
		time.Sleep(verifytest.DefaultMaxRevocationAge)
		check("without knowing which sessions have ended", 503)
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(time.Minute)
		check("afterwards", 204)
		issuer.RevokeSession(verifytest.SessionID)
		time.Sleep(2 * time.Second)
		check("when the session has ended", 401)
	})
}

// Why a token was refused is logged; the token is not.
func TestHandlerLog(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	handler := newServer(t, issuer, authz.Config{
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}).Handler()
	for _, token := range []string{
		issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}),
		issuer.Token(verifytest.TokenSpec{Header: map[string]any{"kid": "SECRET"}}),
		"SECRET.SECRET.SECRET",
	} {
		ask(handler, http.MethodGet, "/?customer_session_token="+token, "Authorization", "Bearer "+token, "Cookie", token)
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(log.String(), part) {
				t.Errorf("the log has a part of the token: %s", log.String())
			}
		}
	}
	if got := strings.Count(log.String(), `"msg":"refused"`); got != 3 {
		t.Errorf("got %d lines, want 3:\n%s", got, log.String())
	}
	if !strings.Contains(log.String(), "expired") {
		t.Errorf("the log does not say why:\n%s", log.String())
	}
}
