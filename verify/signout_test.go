package verify_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

const endPath = "/v1/customer-portal/customer-session"

// A doorman is in front of an issuer, and sees the requests that end a session.
type doorman struct {
	issuer http.RoundTripper
	answer func(*http.Request) (*http.Response, error) // nil: the issuer's
	ended  []*http.Request
	// intercept answers calls for the links of a portal, nil: the issuer does. No other
	// call may read it, as the feed's run beside the test.
	intercept func(*http.Request) (*http.Response, error)
}

func (d *doorman) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, endPath) {
		d.ended = append(d.ended, r)
		if d.answer != nil {
			return d.answer(r)
		}
	}
	if ofLinks := r.URL.Path == wire.ExchangePath || r.URL.Path == wire.RecoverPath; ofLinks && d.intercept != nil {
		return d.intercept(r)
	}
	return d.issuer.RoundTrip(r)
}

// signOut signs out with the cookie that holds a token, and returns the answer's
// status. When that is a redirect, the answer must take the cookie away.
func signOut(t *testing.T, c *consumer, token string, headers ...string) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://portal.example.com/sign-out", http.NoBody)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if token != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	w := httptest.NewRecorder()
	c.SignOut("/bye").ServeHTTP(w, r)
	answer := w.Result()
	defer answer.Body.Close()
	cookies := answer.Cookies()
	if gone := len(cookies) == 1 && cookies[0].Name == cookieName && cookies[0].MaxAge < 0; gone != (w.Code == http.StatusSeeOther) {
		t.Errorf("got %d and %v", w.Code, w.Header())
	}
	return w.Code
}

// checkSignedOut signs out and demands that this works.
func checkSignedOut(t *testing.T, c *consumer, token string) {
	t.Helper()
	if status := signOut(t, c, token); status != http.StatusSeeOther {
		t.Errorf("got %d", status)
	}
}

// A sign-out ends the session here at once, for cached tokens and open contexts too,
// and at the issuer, so that others refuse it as well.
func TestSignOutEndsTheSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{Issuer: "https://id.example.com/tenant"})
		door := &doorman{issuer: issuer.Client().Transport}
		c := newConsumer(t, issuer, func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: door} })
		other := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		session, err := c.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		other.check(t, "elsewhere, before", token, nil)
		ctx, cancel := c.SessionContext(t.Context(), session)
		defer cancel()
		checkSignedOut(t, c, token)
		c.check(t, "here", token, verify.ErrRevoked)
		c.check(t, "here, another token of the session", longToken(issuer, map[string]any{"aud": []string{verifytest.DefaultAudience}}), verify.ErrRevoked)
		checkDone(t, c.Verifier, ctx, verify.ErrRevoked)
		time.Sleep(1100 * time.Millisecond)
		other.check(t, "elsewhere", token, verify.ErrRevoked)
		if len(door.ended) != 1 || door.ended[0].Method != http.MethodDelete || door.ended[0].URL.String() != issuer.URL()+endPath ||
			door.ended[0].Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("the issuer got %v", door.ended)
		}
		// A second time there is nothing to end.
		checkSignedOut(t, c, token)
		if len(door.ended) != 1 {
			t.Errorf("the issuer got %d requests", len(door.ended))
		}
		if c.log.String() != "" {
			t.Errorf("log: %s", c.log)
		}
	})
}

// Whatever the issuer does, the cookie goes, the session is refused here, and the
// log says what happened without the token.
func TestSignOutWithoutTheIssuer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer answer
		waited time.Duration
		logged string
	}{
		"a 401 is as good": {reply(401, ""), 0, ""},
		"a 204":            {reply(204, ""), 0, ""},
		"no log":           {reply(501, ""), 0, "status 501"},
		"an old issuer":    {reply(404, ""), 0, "status 404"},
		"a redirect":       {reply(307, "", "Location", "https://evil.example/"), 0, "status 307"},
		"down":             {refuse, 0, "connection"},
		"hang":             {hang, 2 * time.Second, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				door := &doorman{issuer: issuer.Client().Transport, answer: tc.answer}
				c := newConsumer(t, issuer, func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: door} })
				token, start := longToken(issuer, nil), time.Now()
				checkSignedOut(t, c, token)
				if waited := time.Since(start); waited != tc.waited {
					t.Errorf("it took %v, want %v", waited, tc.waited)
				}
				c.check(t, "here", token, verify.ErrRevoked)
				log := c.log.String()
				if (log != "") != (tc.logged != "") || !strings.Contains(log, tc.logged) || strings.Contains(log, token[len(token)-20:]) {
					t.Errorf("the log should say %q: %s", tc.logged, log)
				}
				if len(door.ended) != 1 {
					t.Errorf("the issuer got %d requests", len(door.ended))
				}
				// It is refused here for as long as its token could be accepted.
				time.Sleep(time.Until(start.Add(24*time.Hour + 29*time.Second)))
				c.check(t, "at its end", token, verify.ErrRevoked)
				time.Sleep(time.Second)
				c.check(t, "after its end", token, verify.ErrExpired)
			})
		})
	}
}

// The session ends also if the browser does not wait for the answer.
func TestSignOutOfOneWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		door := &doorman{issuer: issuer.Client().Transport, answer: func(r *http.Request) (*http.Response, error) {
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			return reply(204, "")(r)
		}}
		c := newConsumer(t, issuer, func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: door} })
		token := longToken(issuer, nil)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		r := httptest.NewRequest(http.MethodPost, "https://portal.example.com/sign-out", http.NoBody).WithContext(ctx)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
		c.SignOut("/bye").ServeHTTP(httptest.NewRecorder(), r)
		if len(door.ended) != 1 || c.log.String() != "" {
			t.Errorf("the issuer got %d requests, and the log says %q", len(door.ended), c.log)
		}
		c.check(t, "here", token, verify.ErrRevoked)
	})
}

// Without the feed no session can be judged. A sign-out then waits for the feed no
// more than for the issuer, and is not forgotten when the feed is back.
func TestSignOutWithoutTheFeed(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]verifytest.FeedFailure{"down": verifytest.FeedDown, "hang": verifytest.FeedHang} {
		for when, before := range map[string]time.Duration{"at first": 0, "after an hour": time.Hour} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					issuer := verifytest.NewIssuer(t, verifytest.Config{})
					door := &doorman{issuer: issuer.Client().Transport, answer: reply(500, "")}
					c := newConsumer(t, issuer, func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: door} })
					token := longToken(issuer, nil)
					if before > 0 {
						c.check(t, "at first", token, nil)
					}
					issuer.FailFeed(failure)
					time.Sleep(before)
					start := time.Now()
					checkSignedOut(t, c, token)
					if waited := time.Since(start); waited != 0 || len(door.ended) != 1 {
						t.Errorf("it took %v, and the issuer got %d requests", waited, len(door.ended))
					}
					issuer.FailFeed(verifytest.FeedHealthy)
					time.Sleep(time.Minute)
					c.check(t, "once sessions can be judged", token, verify.ErrRevoked)
					c.check(t, "another session", longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"}), nil)
				})
			})
		}
	}
}

// A token that cannot be judged now is ended at the issuer all the same; what is no
// token goes nowhere, and neither does anything for another site's page.
func TestSignOutOfOtherCookies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		door := &doorman{issuer: issuer.Client().Transport}
		front := func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: door} }
		c := newConsumer(t, issuer, front)
		good := longToken(issuer, nil)
		for _, cookie := range []string{"", "garbage", good[:len(good)-4] + "AAAA", issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})} {
			checkSignedOut(t, c, cookie)
		}
		if status := signOut(t, c, good, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden || len(door.ended) != 0 {
			t.Errorf("got %d, and the issuer %d requests", status, len(door.ended))
		}
		issuer.FailFeed(verifytest.FeedDown)
		blind := newConsumer(t, issuer, front)
		checkSignedOut(t, blind, good)
		if len(door.ended) != 1 {
			t.Errorf("the issuer got %d requests", len(door.ended))
		}
		time.Sleep(time.Second)
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(36 * time.Second)
		blind.check(t, "once it can be judged", good, verify.ErrRevoked)

		unfollowed := newConsumer(t, issuer, func(config *verify.Config) { front(config); config.MaxRevocationAge = -1 })
		checkSignedOut(t, unfollowed, good)
		unfollowed.check(t, "where nothing is followed", good, nil)
		if len(door.ended) != 1 {
			t.Errorf("the issuer got %d requests", len(door.ended))
		}
	})
}
