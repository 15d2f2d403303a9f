package verify_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// The address keeps every byte but the token's or the code's own pair.
func TestSignInKeepsTheAddress(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	for _, query := range []string{
		"", "tab=2", "view=list;compact", "discount=20%", "welcome", "q=a%20b", "q=a+b", "b=1&a=2&b=3", "a=1&&b=2", "&a", "a&",
		"=", "a==b", "%zz=1", "next=https://shop.example.com/?a=b", "customer_session=1", "customer_session_tokens=1",
		"a=customer_session_token=b", "é=ü", "a=%C3%A4%2f", "x[]=1&x[]=2", "email=ada%40example.com", "a=1?b=2",
	} {
		for name, pair := range map[string]string{
			"token": "customer_session_token=" + longToken(l.issuer, nil),
			"code":  "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{}),
			"odd":   "customer%5Fsession_token=" + strings.ReplaceAll(longToken(l.issuer, nil), ".", "%2E"),
		} {
			for i, whole := range []string{query + "&" + pair, pair + "&" + query} {
				if query == "" {
					whole = pair
				}
				got := l.open(whole)
				if name == "code" {
					code := l.issuer.Code(verifytest.TokenSpec{Claims: map[string]any{"sid": newID(t)}})
					whole = strings.Replace(whole, pair, "customer_session_code="+code, 1)
					got = l.press(t, whole, l.open(whole))
				}
				want := "?" + query
				if query == "" {
					want = "./portal"
				}
				if to := got.header.Get("Location"); got.status != http.StatusSeeOther || to != want {
					t.Errorf("%s, %q, %d: got %d to %q", name, query, i, got.status, to)
				}
			}
		}
	}
}

// Below a prefix that only the browser knows, the address is right, too.
func TestSignInBelowAPrefix(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token := longToken(l.issuer, nil)
	backend := httptest.NewServer(l.handler)
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := func(from, to string) http.Handler {
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.Out.URL.Path, r.Out.URL.RawPath = to+strings.TrimPrefix(r.In.URL.Path, from), ""
			r.SetXForwarded()
		}}
	}
	for name, site := range map[string]http.Handler{
		"StripPrefix":             http.StripPrefix("/shop", l.handler),
		"StripPrefix, twice":      http.StripPrefix("/shop", http.StripPrefix("/de", l.handler)),
		"proxy":                   proxy("/shop", ""),
		"proxy, to another":       proxy("/shop", "/intern"),
		"proxy of the whole path": proxy("/shop/de/portal", "/"),
	} {
		for _, path := range []string{"/shop/de/portal", "/shop/de/portal/", "/shop/de/portal/a:b", "/shop/de/portal//x", "/shop/de/portal/%C3%A4", "/shop/de/portal/a;b=c"} {
			for _, rest := range []string{"", "tab=2"} {
				address := "https://portal.example.com" + path
				query := strings.TrimPrefix(rest+"&customer_session_token="+token, "&")
				r := httptest.NewRequest(http.MethodGet, address+"?"+query, http.NoBody)
				for i := 0; i < len(asPage); i += 2 {
					r.Header.Set(asPage[i], asPage[i+1])
				}
				w := httptest.NewRecorder()
				site.ServeHTTP(w, r)
				got, err := url.Parse(goesTo(t, address, w.Result()))
				if err != nil {
					t.Fatal(err)
				}
				if w.Code != http.StatusSeeOther || got.Scheme+"://"+got.Host+got.EscapedPath() != address || got.RawQuery != rest {
					t.Errorf("%s: %s?%s: got %d to %v", name, address, rest, w.Code, got)
				}
			}
		}
	}
}

// Two secrets in one address are ambiguous, whatever they are.
func TestSignInAmbiguous(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token, code := "customer_session_token="+longToken(l.issuer, nil), "customer_session_code="+l.issuer.Code(verifytest.TokenSpec{})
	for _, query := range []string{token + "&" + token, code + "&" + code, token + "&" + code, code + "&a=1&" + token, token + "&" + token + "&" + token, token + "&customer_session_code"} {
		l.open(query).check(t, "GET", http.StatusBadRequest, titleInvalid)
		l.request(http.MethodPost, landingURL+"?"+query, "redemption=0123456789abcdefghijklmnop", "Sec-Fetch-Site", "same-origin").
			check(t, "POST", http.StatusBadRequest, titleInvalid)
	}
}

// A token where a code belongs is no code, and the reverse; neither reaches the
// issuer.
func TestSignInMixesNothingUp(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token, code := longToken(l.issuer, nil), l.issuer.Code(verifytest.TokenSpec{})
	calls := 0
	l.door.intercept = func(*http.Request) (*http.Response, error) { calls++; return nil, http.ErrAbortHandler }
	for _, query := range []string{"customer_session_code=" + token, "customer_session_token=" + code, "customer_session_code=", "customer_session_code=x.y.z"} {
		l.open(query).check(t, "GET", http.StatusUnauthorized, titleInvalid)
		for _, form := range []string{"redemption=0123456789abcdefghijklmnop", "recover=true"} {
			l.request(http.MethodPost, landingURL+"?"+query, form, "Sec-Fetch-Site", "same-origin").
				check(t, form, http.StatusUnauthorized, titleInvalid)
		}
	}
	if calls != 0 {
		t.Errorf("the issuer got %d calls", calls)
	}
	if _, err := l.Verify(t.Context(), code); err == nil {
		t.Error("a code is a session")
	}
}

// Requests without a link, and with other methods, are none of sign-in's business.
func TestSignInPassesOn(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	for _, r := range [][2]string{
		{"GET", ""},
		{"GET", "?tab=1"},
		{"POST", ""},
		{"POST", "?tab=1"},
		{"PUT", "?customer_session_token=x"},
		{"DELETE", "?customer_session_code=x"},
		{"OPTIONS", "?customer_session_token=x"},
	} {
		if got := l.request(r[0], landingURL+r[1], ""); got.status != http.StatusOK || got.body != "hello" {
			t.Errorf("%v: got %d %q", r, got.status, got.body)
		}
	}
}

// Browsers ignore a cookie that is too long without a word, so sign-in says it.
func TestSignInCookieSize(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	// A token of just the right length, and one of three characters more.
	sized := func(length int) string {
		for padding := 1; ; padding++ {
			token := longToken(l.issuer, map[string]any{"padding": strings.Repeat("a", padding*3)})
			if len(token) >= length-3 {
				return token
			}
		}
	}
	const limit = 4096 - len(cookieName)
	longest := sized(limit)
	if len(longest) > limit || len(longest) < limit-4 {
		t.Fatalf("the token has %d bytes", len(longest))
	}
	l.open("customer_session_token="+longest).check(t, "just right", http.StatusSeeOther, "")
	tooLong := sized(limit + 8)
	l.open("customer_session_token="+tooLong).check(t, "too long", http.StatusInternalServerError, titleCookieSize)
	if !strings.Contains(l.log.String(), "too long for a browser's cookie") {
		t.Errorf("got the log %q", l.log)
	}
}

// Without TLS, sign-in works on this machine, with a cookie that Safari takes
// there; and nowhere else.
func TestSignInWithoutTLS(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token := longToken(l.issuer, nil)
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	guard := l.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(next)
	for _, tc := range []struct {
		name, address string
		headers       []string
		cookie        string
		read          bool // whether the middleware reads the loopback cookie
	}{
		{"localhost", "http://localhost:8080/portal", nil, loopbackCookie, true},
		{"an address", "http://127.0.0.1/portal", nil, loopbackCookie, true},
		{"IPv6", "http://[::1]:8080/portal", nil, loopbackCookie, true},
		{"localhost with TLS", "https://localhost:8080/portal", nil, cookieName, false},
		{"a host", "https://portal.example.com/portal", nil, cookieName, false},
		{"a proxy that keeps the host to itself", "http://127.0.0.1:9000/portal", []string{"X-Forwarded-For", "192.0.2.1"}, cookieName, false},
		{"another proxy", "http://localhost:9000/portal", []string{"Forwarded", "for=192.0.2.1"}, cookieName, false},
		{"a host that looks like it", "http://localhost.example.com/portal", nil, cookieName, false},
		{"a host without TLS, or a proxy in front", "http://portal.example.com/portal", nil, cookieName, false},
	} {
		got := l.request(http.MethodGet, tc.address+"?customer_session_token="+token, "", append(tc.headers, asPage...)...)
		if got.status != http.StatusSeeOther || got.cookie == nil || got.cookie.Name != tc.cookie || got.cookie.Secure != (tc.cookie == cookieName) ||
			!got.cookie.HttpOnly || got.cookie.SameSite != http.SameSiteLaxMode || got.cookie.Domain != "" || got.cookie.Path != "/" {
			t.Errorf("%s: got %d with %v", tc.name, got.status, got.cookie)
		}
		ask := func(handler http.Handler, method, name string, headers ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, tc.address, http.NoBody)
			r.Header.Set("Cookie", name+"="+token)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		}
		if w := ask(guard, http.MethodGet, loopbackCookie, tc.headers...); (w.Code == http.StatusOK) != tc.read {
			t.Errorf("%s: with the loopback cookie the middleware answers %d", tc.name, w.Code)
		}
		if w := ask(guard, http.MethodGet, cookieName, tc.headers...); w.Code != http.StatusOK {
			t.Errorf("%s: with the secure cookie the middleware answers %d", tc.name, w.Code)
		}
	}
}

// nginx, as long as it is told nothing else, asks for the address of the portal with
// HTTP/1.0, which no browser speaks, and adds no header.
func TestSignInBehindNginxAsInstalled(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token := longToken(l.issuer, nil)
	ask := func(handler http.Handler, query string, headers ...string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/portal"+query, http.NoBody)
		r.Proto, r.ProtoMinor, r.Close = "HTTP/1.0", 0, true
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result()
	}
	cookies := ask(l.handler, "?customer_session_token="+token, asPage...).Cookies()
	if len(cookies) != 1 || cookies[0].Name != cookieName || !cookies[0].Secure {
		t.Errorf("got %v, want the secure cookie", cookies)
	}
	guard := l.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(http.NotFoundHandler())
	if answer := ask(guard, "", "Cookie", loopbackCookie+"="+token); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a cookie that a sibling host can set: got %d, want 401", answer.StatusCode)
	}
}

// A sign-out on this machine ends the session of the loopback cookie, and removes
// it.
func TestSignOutWithoutTLS(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	token := longToken(l.issuer, nil)
	r := httptest.NewRequest(http.MethodPost, "http://localhost:8080/sign-out", http.NoBody)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", loopbackCookie+"="+token)
	w := httptest.NewRecorder()
	l.SignOut("/bye").ServeHTTP(w, r)
	answer := w.Result()
	if cookies := answer.Cookies(); len(cookies) != 1 || cookies[0].Name != loopbackCookie || cookies[0].MaxAge >= 0 || cookies[0].Secure {
		t.Errorf("got %v", cookies)
	}
	l.check(t, "afterwards", token, verify.ErrRevoked)
}

// Elsewhere sign-in cannot work over http, and says why: such a browser sends no
// Sec-Fetch headers and gets the button, whose form shows the scheme.
func TestSignInOverPlainHTTP(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	for query, form := range map[string]string{
		"?customer_session_token=" + longToken(l.issuer, nil):             "",
		"?customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{}): "redemption=0123456789abcdefghijklmnop",
	} {
		const address = "http://192.168.1.20:8080/portal"
		l.request(http.MethodGet, address+query, "").check(t, "GET", http.StatusOK, titleConfirm)
		l.request(http.MethodPost, address+query, form, "Origin", "http://192.168.1.20:8080").check(t, "POST", http.StatusForbidden, titlePlainHTTP)
		l.request(http.MethodPost, address+query, form, "Origin", "https://192.168.1.20:8080").check(t, "POST behind TLS", http.StatusSeeOther, "")
	}
}
