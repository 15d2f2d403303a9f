package verify_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

func (l *landing) expiredToken() string {
	return l.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
}

// The page of an expired link asks the issuer for a new one, with the old token as
// bearer, and shows what becomes of it.
func TestSignInRecovers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer  func(*http.Request) (*http.Response, error)
		status  int
		title   string
		err     error
		links   []string // on the page
		noLinks []string
	}{
		"sent":               {answer: reply(202, `{}`), status: 200, title: titleSent, links: []string{verifytest.ReturnURL}},
		"no hook":            {answer: reply(404, `{"error":"ResourceNotFound","support_url":null}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery, links: []string{verifytest.ReturnURL}},
		"support":            {answer: reply(404, `{"support_url":"https://shop.example.com/help?a=1&b=2"}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery, links: []string{"https://shop.example.com/help?a=1&amp;b=2", verifytest.ReturnURL}},
		"support by script":  {answer: reply(404, `{"support_url":"javascript:alert(1)"}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery, links: []string{verifytest.ReturnURL}, noLinks: []string{"javascript"}},
		"support by mail":    {answer: reply(404, `{"support_url":"mailto:help@example.com"}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery, noLinks: []string{"mailto"}},
		"support with marks": {answer: reply(404, `{"support_url":"https://x/\"><script>"}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery, noLinks: []string{"<script>"}},
		"too old":            {answer: reply(401, `{"error":"invalid_token"}`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery},
		"an old issuer":      {answer: reply(404, `not JSON`), status: 404, title: titleNoRecovery, err: verify.ErrNoRecovery},
		"too many":           {answer: reply(429, ``), status: 429, title: titleWait, err: verify.ErrRateLimited},
		"hook away":          {answer: reply(503, `{}`), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable},
		"redirect":           {answer: reply(302, ``, "Location", "https://evil.example/"), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable},
		"issuer away": {
			answer: func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") },
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLanding(t, nil)
			token := l.expiredToken()
			var sent []*http.Request
			l.answers(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r)
				return tc.answer(r)
			})
			query := "customer_session_token=" + token
			page := l.open(query)
			page.check(t, "the old link", http.StatusUnauthorized, titleExpired)
			got := l.press(t, query, page)
			if got.status != tc.status || got.title() != tc.title || got.cookie != nil {
				t.Errorf("got %d %q %v", got.status, got.title(), got.cookie)
			}
			for _, link := range tc.links {
				if !strings.Contains(got.body, `<a href="`+link+`">`) {
					t.Errorf("no link to %s: %s", link, got.body)
				}
			}
			for _, link := range tc.noLinks {
				if strings.Contains(got.body, link) {
					t.Errorf("the page holds %s: %s", link, got.body)
				}
			}
			if len(sent) != 1 || sent[0].Method != http.MethodPost || sent[0].URL.String() != l.issuer.URL()+wire.RecoverPath || sent[0].Header.Get("Authorization") != "Bearer "+token {
				t.Fatalf("the issuer got %v", sent)
			}
			if tc.status == 503 || tc.status == 429 {
				tc.answer = reply(202, `{}`)
				if again := l.press(t, query, got); again.title() != titleSent {
					t.Errorf("again: got %q", again.title())
				}
			}
			if strings.Contains(l.log.String(), token) {
				t.Error("the log holds the token")
			}
		})
	}
}

// Which links a new one can be asked for, and who may ask.
func TestSignInRecoversWhat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanding(t, nil)
		old := l.issuer.KeyID()
		dropped := "customer_session_token=" + l.issuer.Token(verifytest.TokenSpec{KeyID: old})
		expiredCode := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{IssuedAt: time.Now().Add(-time.Hour)})
		calls := l.answers(reply(202, `{}`))
		page := l.open(expiredCode)
		page.check(t, "an expired code", http.StatusUnauthorized, titleExpired)
		if got := l.press(t, expiredCode, page); got.title() != titleSent || calls.Load() != 1 {
			t.Errorf("an expired code: got %q after %d calls", got.title(), calls.Load())
		}
		for name, headers := range map[string][]string{
			"another site":   {"Sec-Fetch-Site", "cross-site"},
			"a sibling host": {"Sec-Fetch-Site", "same-site"},
			"nothing":        {"X-A", "b"},
		} {
			l.press(t, expiredCode, page, headers...).check(t, name, http.StatusForbidden, titleCrossOrigin)
		}
		revoked := "customer_session_token=" + longToken(l.issuer, nil)
		l.issuer.RevokeSession(verifytest.SessionID)
		time.Sleep(2 * time.Second)
		if got := l.open(revoked); got.title() != titleEnded || strings.Contains(got.body, "<button>") {
			t.Errorf("a session that was ended: %s", got.body)
		}
		l.request(http.MethodPost, landingURL+"?"+revoked, "recover=true", "Sec-Fetch-Site", "same-origin").
			check(t, "a session that was ended", http.StatusUnauthorized, titleEnded)
		if calls.Load() != 1 {
			t.Errorf("the issuer got %d calls", calls.Load())
		}

		// The key of a link from last week is no longer published.
		l.issuer.Activate(l.issuer.Publish("ES256"))
		l.issuer.Remove(old)
		time.Sleep(2 * time.Hour)
		page = l.open(dropped)
		page.check(t, "a key that was dropped", http.StatusUnauthorized, titleExpired)
		if got := l.press(t, dropped, page); got.title() != titleSent || calls.Load() != 2 {
			t.Errorf("a key that was dropped: got %q after %d calls", got.title(), calls.Load())
		}
	})
}

// Where the issuer's address is not known, there is no button that leads nowhere.
func TestSignInWithoutRecovery(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	c := newConsumer(t, l.issuer, func(config *verify.Config) {
		config.JWKSetURL, config.Keys, config.HTTPClient, config.MaxStale = "", parsedSet(t, l.issuer), nil, 0
	})
	l.handler = c.NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler()})
	query := "customer_session_token=" + l.expiredToken()
	page := l.open(query)
	page.check(t, "the old link", http.StatusUnauthorized, titleExpired)
	if strings.Contains(page.body, "<button>") || !strings.Contains(page.body, verifytest.ReturnURL) || !strings.Contains(page.body, "from the shop again") {
		t.Errorf("got %s", page.body)
	}
	l.request(http.MethodPost, landingURL+"?"+query, "recover=true", "Sec-Fetch-Site", "same-origin").
		check(t, "a form all the same", http.StatusNotFound, titleNoRecovery)
}

// A page of the portal's own gets web addresses only, too.
func TestSignInSupportURL(t *testing.T) {
	t.Parallel()
	var page verify.SignInPage
	l := newLanding(t, func(config *verify.SignInConfig) {
		config.Page = func(_ http.ResponseWriter, _ *http.Request, p verify.SignInPage) { page = p }
	})
	query := "customer_session_token=" + l.expiredToken()
	for said, want := range map[string]string{"https://shop.example.com/help": "https://shop.example.com/help", "javascript:alert(1)": "", "mailto:help@example.com": ""} {
		l.answers(reply(404, `{"support_url":"`+said+`"}`))
		l.press(t, query, l.open(query))
		if page.State != verify.SignInNoRecovery || page.SupportURL != want {
			t.Errorf("%s: got %+v", said, page)
		}
	}
}
