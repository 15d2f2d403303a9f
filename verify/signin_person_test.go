package verify_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// Only a person signs in: over every way to ask for a link, what the browser holds
// already, and what the link holds.
func TestSignInTakesAPerson(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name, method string
		headers      []string
		want         string // page, ask, or the heading of a refusal; 503 without a word
	}{
		{"a link is clicked", "GET", asPage, "page"},
		{"a link on another site is clicked", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site"}, "page"},
		{"an old browser, or a scanner", "GET", nil, "ask"},
		{"a browser that says half", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none"}, "ask"},
		{"a scanner that asks for the head", "HEAD", nil, "ask"},
		{"a scanner that asks for the head as a browser does", "HEAD", asPage, "ask"},
		{"an image of a sibling host", "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "same-site"}, titleNotAsPage},
		{"an image of this host", "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "same-origin"}, titleNotAsPage},
		{"a frame", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "same-site"}, titleNotAsPage},
		{"an object", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object", "Sec-Fetch-Site", "cross-site"}, titleNotAsPage},
		{"a script", "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script", "Sec-Fetch-Site", "cross-site"}, titleNotAsPage},
		{"a fetch", "GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-site"}, titleNotAsPage},
		{"a fetch of the head", "HEAD", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}, titleNotAsPage},
		{"a prefetch", "GET", append([]string{"Sec-Purpose", "prefetch"}, asPage...), "503"},
		{"a prerendering", "GET", append([]string{"Sec-Purpose", "prefetch;prerender"}, asPage...), "503"},
		{"an old prefetch", "GET", append([]string{"Purpose", "prefetch"}, asPage...), "503"},
		{"a preview", "GET", append([]string{"X-Purpose", "preview"}, asPage...), "503"},
		{"the button of this page", "POST", []string{"Sec-Fetch-Site", "same-origin"}, "sign in"},
		{"the button, in an old browser", "POST", []string{"Origin", "https://portal.example.com"}, "sign in"},
		{"a form that says nothing", "POST", nil, titleCrossOrigin},
		{"a form of a sibling host", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://shop.example.com"}, titleCrossOrigin},
		{"a form of another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://portal.example.com"}, titleCrossOrigin},
		{"a form of another site, in an old browser", "POST", []string{"Origin", "https://evil.example"}, titleCrossOrigin},
		{"a form of a sandboxed frame", "POST", []string{"Origin", "null"}, titleCrossOrigin},
		{"a bookmark typed as a form", "POST", []string{"Sec-Fetch-Site", "none"}, titleCrossOrigin},
	}
	for _, confirm := range []bool{false, true} {
		l := newLanding(t, func(config *verify.SignInConfig) { config.Confirm = confirm })
		token := func(claims map[string]any) string { return longToken(l.issuer, claims) }
		const member = "00000000-0000-4000-8000-00000000000a"
		priors := map[string]struct {
			cookie string
			ask    string // the heading, if this browser is asked
			stale  bool
		}{
			"nobody":           {},
			"same customer":    {cookie: token(map[string]any{"sid": otherCustomer})},
			"another customer": {cookie: token(map[string]any{"sub": otherCustomer}), ask: titleSwitch},
			"another member":   {cookie: token(map[string]any{"member_id": member, "role": "owner"}), ask: titleSwitch},
			"another shop":     {cookie: token(map[string]any{"org": otherCustomer}), ask: titleSwitch},
			"expired":          {cookie: l.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour), Claims: map[string]any{"sub": otherCustomer}}), stale: true},
			"nonsense":         {cookie: "x.y.z", stale: true},
			"two cookies":      {cookie: "a; " + cookieName + "=b", ask: titleConfirm},
		}
		for _, kind := range []string{verify.TokenParameter, verify.CodeParameter} {
			for priorName, prior := range priors {
				for _, way := range ways {
					name := fmt.Sprintf("confirm %t, %s, with %s: %s", confirm, kind, priorName, way.name)
					secret := token(nil)
					form := ""
					if kind == verify.CodeParameter {
						secret, form = l.issuer.Code(verifytest.TokenSpec{}), "redemption=0123456789abcdefghijklmnop"
					}
					headers := way.headers
					if prior.cookie != "" {
						headers = append([]string{"Cookie", cookieName + "=" + prior.cookie}, headers...)
					}
					got := l.request(way.method, landingURL+"?"+kind+"="+secret, form, headers...)
					ask := prior.ask
					if ask == "" && (confirm || kind == verify.CodeParameter || way.want == "ask") {
						ask = titleConfirm
					}
					switch {
					case way.want == "503":
						got.check(t, name, http.StatusServiceUnavailable, "")
					case way.want == "page" && ask == "", way.want == "sign in":
						got.check(t, name, http.StatusSeeOther, "")
					case way.want == "page", way.want == "ask":
						got.check(t, name, http.StatusOK, ask)
						if got.removes() != prior.stale {
							t.Errorf("%s: removes the cookie: %t", name, got.removes())
						}
					default:
						got.check(t, name, http.StatusForbidden, way.want)
					}
					if got.header.Get("Cache-Control") != "no-store" {
						t.Errorf("%s: the answer may be kept", name)
					}
				}
			}
		}
	}
}

// A form that is not the page's, or not all of it, exchanges nothing.
func TestSignInForm(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	code := l.issuer.Code(verifytest.TokenSpec{})
	for name, form := range map[string]string{
		"nothing":         "",
		"empty":           "redemption=",
		"short":           "redemption=0123456789abcdefghijk",
		"long":            "redemption=" + strings.Repeat("a", 129),
		"other character": "redemption=0123456789abcdefghij%22%2C",
		"too large":       "redemption=0123456789abcdefghijklmnop&x=" + strings.Repeat("a", 1<<13),
		"not a form":      "redemption=%zz",
	} {
		got := l.request(http.MethodPost, landingURL+"?customer_session_code="+code, form, "Sec-Fetch-Site", "same-origin")
		got.check(t, name, http.StatusBadRequest, titleInvalid)
	}
	// In the query it does not count: a link must not choose it.
	got := l.request(http.MethodPost, landingURL+"?redemption=0123456789abcdefghijklmnop&customer_session_code="+code, "", "Sec-Fetch-Site", "same-origin")
	got.check(t, "in the query", http.StatusBadRequest, titleInvalid)
	page := l.open("customer_session_code=" + code)
	again := l.open("customer_session_code=" + code)
	if a, b := fieldsOf(page).Get("redemption"), fieldsOf(again).Get("redemption"); len(a) < 26 || a == b {
		t.Errorf("got the redemptions %q and %q", a, b)
	}
	l.press(t, "customer_session_code="+code, page).check(t, "the page's own", http.StatusSeeOther, "")
}

// Without keys or without the feed, nothing is guessed: neither who is signed in,
// nor whether the cookie is of no use.
func TestSignInDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanding(t, nil)
		token := longToken(l.issuer, nil)
		l.issuer.Fail(verifytest.Down)
		got := l.open("customer_session_token="+token, "Cookie", cookieName+"="+token)
		got.check(t, "without keys", http.StatusServiceUnavailable, titleUnavailable)
		if got.cookie != nil || got.header.Get("Retry-After") == "" {
			t.Errorf("got %v", got.header)
		}
		code := l.open("customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{}))
		code.check(t, "a code without keys", http.StatusServiceUnavailable, titleUnavailable)
		if fieldsOf(code).Get("redemption") == "" {
			t.Error("the page cannot try again")
		}
		l.issuer.Fail(verifytest.Healthy)
		time.Sleep(time.Minute)
		l.press(t, "customer_session_token="+token, got).check(t, "the button, later", http.StatusSeeOther, "")

		l.issuer.FailFeed(verifytest.FeedDown)
		time.Sleep(time.Hour)
		got = l.open("customer_session_code="+l.issuer.Code(verifytest.TokenSpec{}), "Cookie", cookieName+"="+token)
		got.check(t, "without the feed", http.StatusOK, titleConfirm)
		guard := l.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(http.NotFoundHandler())
		answer := visit(guard, http.MethodGet, "/", "Cookie", cookieName+"="+token)
		if answer.StatusCode != http.StatusServiceUnavailable || len(answer.Cookies())+len(got.header["Set-Cookie"]) != 0 {
			t.Errorf("got %d and the cookies %v, %v", answer.StatusCode, answer.Cookies(), got.header["Set-Cookie"])
		}
	})
}

// A link that has expired is refused as such, also within the leeway, in which its
// token is still good but no cookie would last.
func TestSignInWithinTheLeeway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanding(t, nil)
		token := l.issuer.Token(verifytest.TokenSpec{})
		l.open("customer_session_token="+token).check(t, "at first", http.StatusSeeOther, "")
		time.Sleep(time.Hour + 10*time.Second)
		if _, err := l.Verify(t.Context(), token); err != nil {
			t.Fatalf("the leeway is over: %v", err)
		}
		l.open("customer_session_token="+token).check(t, "within the leeway", http.StatusUnauthorized, titleExpired)
		code := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{Lifetime: time.Minute})
		page := l.open(code)
		time.Sleep(time.Minute + 10*time.Second)
		l.press(t, code, page).check(t, "a code of a session within the leeway", http.StatusUnauthorized, titleExpired)
		l.open("customer_session_token="+token).check(t, "after it", http.StatusUnauthorized, titleExpired)
	})
}

// The middleware takes a cookie away that is of no use, and leaves it where that
// is not for it to say.
func TestMiddlewareRemovesStaleCookies(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	c := newConsumer(t, issuer, nil)
	good := longToken(issuer, nil)
	expired := issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	revoked := longToken(issuer, map[string]any{"sid": otherCustomer})
	issuer.RevokeSession(otherCustomer)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	with := c.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(ok)
	for _, tc := range []struct {
		name    string
		handler http.Handler
		headers []string
		status  int
		removed bool
	}{
		{"good", with, []string{"Cookie", cookieName + "=" + good}, 200, false},
		{"expired", with, []string{"Cookie", cookieName + "=" + expired}, 401, true},
		{"nonsense", with, []string{"Cookie", cookieName + "=x"}, 401, true},
		{"revoked", with, []string{"Cookie", cookieName + "=" + revoked}, 401, true},
		{"expired, optional", c.NewMiddleware(verify.MiddlewareConfig{Cookie: true, Optional: true})(ok), []string{"Cookie", cookieName + "=" + expired}, 401, true},
		{"none", with, nil, 401, false},
		{"two", with, []string{"Cookie", cookieName + "=a; " + cookieName + "=b"}, 400, false},
		{"a scope is missing", c.NewMiddleware(verify.MiddlewareConfig{Cookie: true, Scopes: []string{"admin"}})(ok), []string{"Cookie", cookieName + "=" + good}, 403, false},
		{"a bad bearer token beside it", with, []string{"Cookie", cookieName + "=" + good, "Authorization", "Bearer x.y.z"}, 401, false},
		{"not asked for", c.Middleware(ok), []string{"Cookie", cookieName + "=" + expired}, 401, false},
	} {
		answer := visit(tc.handler, http.MethodGet, "/", tc.headers...)
		cookies := answer.Cookies()
		removed := len(cookies) == 1 && cookies[0].Name == cookieName && cookies[0].MaxAge < 0
		if answer.StatusCode != tc.status || removed != tc.removed || len(cookies) > 1 {
			t.Errorf("%s: got %d and %v", tc.name, answer.StatusCode, cookies)
		}
	}
}

// A customer who opens an old link where they are still signed in goes on with that
// session. In any other browser the link stays old.
func TestSignInGoesOn(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	expired := "view=list&customer_session_token=" + l.expiredToken()
	used := "view=list&customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
	l.press(t, used, l.open(used)).check(t, "the code's first use", http.StatusSeeOther, "")
	for name, tc := range map[string]struct {
		claims map[string]any
		goesOn bool
	}{
		"the same customer": {nil, true},
		"another customer":  {map[string]any{"sub": otherCustomer}, false},
		"a member":          {map[string]any{"member_id": otherCustomer, "role": "owner"}, false},
	} {
		cookie := []string{"Cookie", cookieName + "=" + l.issuer.Token(verifytest.TokenSpec{Claims: tc.claims})}
		form := append([]string{"Sec-Fetch-Site", "same-origin"}, cookie...)
		for link, got := range map[string]*landed{
			"expired link": l.open(expired, cookie...),
			"used code":    l.press(t, used, l.open(used, cookie...), form...),
		} {
			if goesOn := got.status == http.StatusSeeOther && got.header.Get("Location") == "?view=list"; goesOn != tc.goesOn || got.cookie != nil {
				t.Errorf("%s, %s: got %d, %v", name, link, got.status, got.header)
			}
		}
	}
}
