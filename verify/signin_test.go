package verify_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

const cookieName = "__Host-customer_session"

// A portal is a site as a consumer would build it.
func portal(t testing.TB, s *signer) http.Handler {
	t.Helper()
	v := newVerifier(t, s)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		_, _ = w.Write([]byte("hello " + session.CustomerID))
	})
	onError := func(w http.ResponseWriter, _ *http.Request, err error) {
		text := "bad link"
		if errors.Is(err, verify.ErrExpired) {
			text = "expired link"
		}
		_, _ = w.Write([]byte(text))
	}
	guard := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})
	mux := http.NewServeMux()
	mux.Handle("/portal/", v.NewSignIn(verify.SignInConfig{Next: guard(page), OnError: onError}))
	mux.Handle("/sign-out", v.SignOut("/portal/bye"))
	return mux
}

func visit(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "https://portal.example.com"+target, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// asPage is what a browser sends with an address that a person opens.
var asPage = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none"}

// goesTo returns where an answer leads the browser that asked for an address.
func goesTo(t testing.TB, address string, answer *http.Response) string {
	t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	to, err := base.Parse(answer.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return to.String()
}

func text(t testing.TB, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	site := portal(t, s)
	token := s.token(t, s.header(), payload())
	arrived := visit(site, http.MethodGet, "/portal/orders?tab=2&customer_session_token="+token+"&tab=3", asPage...)
	defer arrived.Body.Close()
	if got := goesTo(t, "https://portal.example.com/portal/orders", arrived); arrived.StatusCode != http.StatusSeeOther || got != "https://portal.example.com/portal/orders?tab=2&tab=3" {
		t.Fatalf("got %d to %q", arrived.StatusCode, got)
	}
	if arrived.Header.Get("Referrer-Policy") != "no-referrer" || arrived.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got headers %v", arrived.Header)
	}
	cookies := arrived.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("got cookies %v", cookies)
	}
	c := cookies[0]
	if c.Name != cookieName || c.Value != token || c.Path != "/" || c.Domain != "" || !c.Secure || !c.HttpOnly ||
		c.SameSite != http.SameSiteLaxMode || c.MaxAge < 3590 || c.MaxAge > 3600 || time.Until(c.Expires) > time.Hour {
		t.Errorf("got cookie %s", c.Raw)
	}
	page := visit(site, http.MethodGet, "/portal/orders", "Cookie", cookieName+"="+token)
	if got := text(t, page); page.StatusCode != http.StatusOK || got != "hello "+customerID {
		t.Errorf("with the cookie: %d %q", page.StatusCode, got)
	}
}

func TestSignInRefusesBadLinks(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	site := portal(t, s)
	good := s.token(t, s.header(), payload())
	now := time.Now().Unix()
	expired := s.token(t, s.header(), payload(
		fmt.Sprintf(`"iat":%d`, now), fmt.Sprintf(`"iat":%d`, now-7200), fmt.Sprintf(`"exp":%d`, now+3600), fmt.Sprintf(`"exp":%d`, now-3600)))
	for _, tc := range []struct {
		name, query, want string
		status            int
	}{
		{"expired", "customer_session_token=" + expired, "expired link", http.StatusUnauthorized},
		{"forged", "customer_session_token=" + good[:len(good)-4] + "AAAA", "bad link", http.StatusUnauthorized},
		{"empty", "customer_session_token=", "bad link", http.StatusUnauthorized},
		{"two tokens", "customer_session_token=" + good + "&customer_session_token=" + good, "bad link", http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			answer := visit(site, http.MethodGet, "/portal/?"+tc.query)
			// The handler wrote a page without a status: it is not a success.
			if got := text(t, answer); answer.StatusCode != tc.status || got != tc.want || len(answer.Cookies()) != 0 {
				t.Errorf("got %d %q with cookies %v", answer.StatusCode, got, answer.Cookies())
			}
			if answer.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Error("the page of a bad link may tell the link to others")
			}
		})
	}
	// A form of another site cannot sign anybody in.
	if answer := visit(site, http.MethodPost, "/portal/?customer_session_token="+good); answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) != 0 {
		t.Errorf("POST: got %d", answer.StatusCode)
	}
}

// Whatever the path, a browser stays on its host and at its path.
func TestSignInStaysOnItsHost(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	token := s.token(t, s.header(), payload())
	signIn := newVerifier(t, s).NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler()})
	for _, path := range []string{
		"/", "/a", "/a/", "//evil.example/x", "///evil.example", "/a//", "/https:evil.example", "/a:b", "/%5Cevil.example/",
		"/a%0d%0aX-Evil:%201", "/%C3%A4%20b", "/a%2Fb", "/a%3Fb", "/%2e%2e/x",
	} {
		address := "https://portal.example.com" + path
		parsed, err := url.Parse(address + "?x=1&customer_session_token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}, Host: parsed.Host, URL: &url.URL{
			Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery,
		}}
		for i := 0; i < len(asPage); i += 2 {
			r.Header.Set(asPage[i], asPage[i+1])
		}
		w := httptest.NewRecorder()
		signIn.ServeHTTP(w, r)
		if got := goesTo(t, address, w.Result()); w.Code != http.StatusSeeOther || got != address+"?x=1" {
			t.Errorf("%s: got %d to %q", address, w.Code, got)
		}
	}
}

func TestCookieIsUsedOnlyWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	token := s.token(t, s.header(), payload())
	cookie := cookieName + "=" + token
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	with := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(page)
	for _, tc := range []struct {
		name    string
		handler http.Handler
		method  string
		headers []string
		status  int
	}{
		{"cookie", with, http.MethodGet, []string{"Cookie", cookie}, 200},
		{"header instead", with, http.MethodGet, []string{"Authorization", "Bearer " + token}, 200},
		{"a bad header wins over a good cookie", with, http.MethodGet, []string{"Authorization", "Bearer x.y.z", "Cookie", cookie}, 401},
		{"not asked for", v.Middleware(page), http.MethodGet, []string{"Cookie", cookie}, 401},
		{"two cookies", with, http.MethodGet, []string{"Cookie", cookie + "; " + cookie}, 400},
		{"empty cookie", with, http.MethodGet, []string{"Cookie", cookieName + "="}, 401},
		{"without the prefix", with, http.MethodGet, []string{"Cookie", "customer_session=" + token}, 401},
		{"POST of the same origin", with, http.MethodPost, []string{"Cookie", cookie, "Sec-Fetch-Site", "same-origin"}, 200},
		{"POST of another site", with, http.MethodPost, []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST of a sibling host", with, http.MethodPost, []string{"Cookie", cookie, "Sec-Fetch-Site", "same-site"}, 403},
		{"POST of another origin, old browser", with, http.MethodPost, []string{"Cookie", cookie, "Origin", "https://evil.example"}, 403},
		{"GET by a link on another site", with, http.MethodGet, []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site"}, 200},
		{"WebSocket of the same origin", with, http.MethodGet, []string{"Cookie", cookie, "Upgrade", "websocket", "Sec-WebSocket-Key", "k", "Origin", "https://portal.example.com"}, 200},
		{"WebSocket of another origin", with, http.MethodGet, []string{"Cookie", cookie, "Upgrade", "websocket", "Sec-WebSocket-Key", "k", "Origin", "https://evil.example"}, 403},
		{"WebSocket of another site", with, http.MethodGet, []string{"Cookie", cookie, "Upgrade", "websocket", "Sec-Fetch-Site", "cross-site"}, 403},
		{"WebSocket of another origin, by a gateway", with, http.MethodGet, []string{"Cookie", cookie, "Sec-WebSocket-Key", "k", "Origin", "https://evil.example"}, 403},
		{"WebSocket of a sandboxed page", with, http.MethodGet, []string{"Cookie", cookie, "Upgrade", "websocket", "Origin", "null"}, 403},
		{"WebSocket without an origin", with, http.MethodGet, []string{"Cookie", cookie, "Upgrade", "websocket"}, 403},
		{"WebSocket with a header from elsewhere", with, http.MethodGet, []string{"Authorization", "Bearer " + token, "Upgrade", "websocket", "Origin", "https://evil.example"}, 200},
		{"POST with a header from elsewhere", with, http.MethodPost, []string{"Authorization", "Bearer " + token, "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if answer := visit(tc.handler, tc.method, "/", tc.headers...); answer.StatusCode != tc.status {
				t.Errorf("got %d, want %d", answer.StatusCode, tc.status)
			}
		})
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	site := portal(t, newSigner(t, jwk.ES256))
	for _, tc := range []struct {
		name, method string
		headers      []string
		status       int
	}{
		{"the portal's own form", http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusSeeOther},
		{"another site's form", http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"a link", http.MethodGet, nil, http.StatusMethodNotAllowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			answer := visit(site, tc.method, "/sign-out", tc.headers...)
			if answer.StatusCode != tc.status {
				t.Fatalf("got %d, want %d", answer.StatusCode, tc.status)
			}
			cookies := answer.Cookies()
			if tc.status != http.StatusSeeOther {
				if len(cookies) != 0 {
					t.Errorf("got cookies %v", cookies)
				}
				return
			}
			if answer.Header.Get("Location") != "/portal/bye" || len(cookies) != 1 || cookies[0].Name != cookieName || cookies[0].MaxAge >= 0 || cookies[0].Value != "" {
				t.Errorf("got %v", answer.Header)
			}
		})
	}
	for _, path := range []string{"", "x", "//evil.example", `/\evil.example`, "https://evil.example"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SignOut(%q) does not panic", path)
				}
			}()
			newVerifier(t, newSigner(t, jwk.ES256)).SignOut(path)
		}()
	}
}
