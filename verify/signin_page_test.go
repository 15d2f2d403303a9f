package verify_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

func parsedSet(t *testing.T, issuer *verifytest.Issuer) *jwk.Set {
	t.Helper()
	set, err := jwk.ParseSet(issuer.JWKSet())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// checkSafe demands the headers that keep a link safe.
func checkSafe(t *testing.T, when string, header http.Header) {
	t.Helper()
	if header.Get("Cache-Control") != "no-store" || !slices.Equal(header["Referrer-Policy"], []string{"same-origin"}) || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: got %v", when, header)
	}
	if !slices.Contains(header["Content-Security-Policy"], "frame-ancestors 'none'") {
		t.Errorf("%s: may be framed: %v", when, header["Content-Security-Policy"])
	}
}

// Whatever Page writes, the page keeps the headers that keep the link safe, and a
// refusal is no success.
func TestSignInPage(t *testing.T) {
	t.Parallel()
	var page verify.SignInPage
	for name, tc := range map[string]struct {
		write   func(w http.ResponseWriter)
		ask     int // the status of the page of confirmation
		refusal int
		own     bool
	}{
		"nothing": {func(http.ResponseWriter) {}, 200, 401, false},
		"text":    {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "own") }, 200, 401, true},
		"success": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated); _, _ = io.WriteString(w, "own") }, 200, 401, true},
		"no body": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 404, 404, true},
		"headers": {func(w http.ResponseWriter) {
			w.Header().Set("Cache-Control", "public, max-age=600")
			w.Header().Set("Referrer-Policy", "unsafe-url")
			w.Header().Set("Content-Security-Policy", "frame-ancestors *")
			w.Header().Set("X-Content-Type-Options", "")
			_, _ = io.WriteString(w, "own")
		}, 200, 401, true},
	} {
		l := newLanding(t, func(config *verify.SignInConfig) {
			config.Confirm = true
			config.Page = func(w http.ResponseWriter, _ *http.Request, p verify.SignInPage) { page = p; tc.write(w) }
		})
		good := "customer_session_token=" + longToken(l.issuer, nil)
		got := l.open(good, "Cookie", cookieName+"=stale")
		checkSafe(t, name, got.header)
		if own := got.title() == ""; got.status != tc.ask || own != tc.own || !got.removes() {
			t.Errorf("%s: got %d %q %v", name, got.status, got.body, got.cookie)
		}
		if page.State != verify.SignInConfirm || page.Err != nil || page.Session.CustomerID != verifytest.CustomerID || page.Button == "" || page.Current.ID != "" {
			t.Errorf("%s: got %+v", name, page)
		}
		refusal := l.open("customer_session_token=" + l.expiredToken())
		checkSafe(t, name, refusal.header)
		if refusal.status != tc.refusal || page.State != verify.SignInExpired || !errors.Is(page.Err, verify.ErrExpired) ||
			page.Session.ReturnURL != verifytest.ReturnURL || len(page.Fields) != 1 {
			t.Errorf("%s: got %d with %+v", name, refusal.status, page)
		}
		l.open(good, "Cookie", cookieName+"="+longToken(l.issuer, map[string]any{"sub": otherCustomer}))
		if page.Current.CustomerID != otherCustomer || page.Session.CustomerID != verifytest.CustomerID {
			t.Errorf("%s: over another customer: got %+v", name, page)
		}
	}
}

// The default page allows its own style and nothing else, and has what a screen
// reader needs.
func TestSignInDefaultPage(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	page := l.open("customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{}))
	checkSafe(t, "the default page", page.header)
	_, rest, _ := strings.Cut(page.body, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("got the policy %q", policy)
	}
	for _, part := range []string{`<html lang="en">`, `<title>` + titleConfirm + `</title>`, "<main>", `<meta name="viewport"`, "<button>Sign in</button>"} {
		if !strings.Contains(page.body, part) {
			t.Errorf("%s is missing: %s", part, page.body)
		}
	}
	for _, part := range []string{"<script", " style=", "onclick", "customer_session_code", "http://", "https://"} {
		if strings.Contains(strings.ReplaceAll(page.body, style, ""), part) {
			t.Errorf("the page has %s: %s", part, page.body)
		}
	}
}

// OnError answers refusals as it does for a middleware.
func TestSignInOnError(t *testing.T) {
	t.Parallel()
	var got error
	text := "sorry"
	l := newLanding(t, func(config *verify.SignInConfig) {
		config.Page = func(http.ResponseWriter, *http.Request, verify.SignInPage) { t.Error("Page is called") }
		config.OnError = func(w http.ResponseWriter, _ *http.Request, err error) {
			if got = err; text != "" {
				_, _ = io.WriteString(w, text)
			}
		}
	})
	for query, want := range map[string]struct {
		status int
		err    error
	}{
		"customer_session_token=" + l.expiredToken():                           {401, verify.ErrExpired},
		"customer_session_token=x":                                             {401, verify.ErrMalformed},
		"customer_session_token=x&customer_session_code=y":                     {400, verify.ErrInvalidRequest},
		"customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{}) + "A": {401, verify.ErrSignature},
	} {
		answer := l.open(query, "Cookie", cookieName+"=stale")
		if answer.status != want.status || !errors.Is(got, want.err) || answer.body != text || !answer.removes() && want.status != 400 ||
			answer.header.Get("Referrer-Policy") != "no-referrer" || answer.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.40s: got %d %v %q %v", query, answer.status, got, answer.body, answer.header)
		}
	}
	text = ""
	if answer := l.open("customer_session_token=x"); answer.status != 401 || !strings.Contains(answer.body, "invalid_token") {
		t.Errorf("without a word: got %d %q", answer.status, answer.body)
	}
}

// What the log says of refused links holds nothing of them, at any level.
func TestSignInLogsNoSecret(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	c := newConsumer(t, l.issuer, func(config *verify.Config) {
		config.Logger = slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	l.handler = c.NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler(), Exchange: verify.Exchange{APIKeyFile: l.keyFile}})
	code := l.issuer.Code(verifytest.TokenSpec{})
	secrets := []string{longToken(l.issuer, map[string]any{"aud": "x"}), l.expiredToken(), code + "x", verifytest.APIKey}
	for _, kind := range []string{verify.TokenParameter, verify.CodeParameter} {
		for _, secret := range secrets {
			l.open(kind + "=" + secret)
			l.request(http.MethodPost, landingURL+"?"+kind+"="+secret, "redemption=0123456789abcdefghijklmnop", "Sec-Fetch-Site", "same-origin")
		}
	}
	l.writeKey(t, "csk_not_this_one")
	l.press(t, "customer_session_code="+code, l.open("customer_session_code="+code))
	log := l.log.String()
	if !strings.Contains(log, "token refused") || !strings.Contains(log, "status 401") {
		t.Errorf("got the log %q", log)
	}
	for _, secret := range append(secrets, code, "csk_", "0123456789abcdefghijklmnop") {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds a secret: %s", log)
		}
	}
}
