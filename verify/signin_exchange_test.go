package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// answers answers calls one after the other, the last one again and again. Nil is
// the issuer's answer.
func (l *landing) answers(answers ...func(*http.Request) (*http.Response, error)) (calls *atomic.Int64) {
	calls = new(atomic.Int64)
	l.door.intercept = func(r *http.Request) (*http.Response, error) {
		answer := answers[min(int(calls.Add(1)), len(answers))-1]
		if answer == nil {
			return l.door.issuer.RoundTrip(r)
		}
		return answer(r)
	}
	return calls
}

// lost lets the issuer act and loses the answer.
func (l *landing) lost(r *http.Request) (*http.Response, error) {
	answer, err := l.door.issuer.RoundTrip(r)
	if err == nil {
		_ = answer.Body.Close()
	}
	return nil, errors.New("connection reset by peer")
}

func refused(kind string) func(*http.Request) (*http.Response, error) {
	return reply(422, `{"error":"PolarRequestValidationError","detail":[{"type":"`+kind+`","loc":["body","code"],"msg":"no"}]}`)
}

func session(token string) func(*http.Request) (*http.Response, error) {
	return reply(200, `{"id":"x","token":"`+token+`","customer":{"email":"ada@example.com"}}`)
}

// A code signs in once, with the token of the session that it stands for.
func TestSignInByCode(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	var got []error
	refusals := func(w http.ResponseWriter, _ *http.Request, err error) { got = append(got, err) }
	code := l.issuer.Code(verifytest.TokenSpec{Claims: map[string]any{"sid": newID(t), "member_id": otherCustomer, "role": "owner"}})
	query := "customer_session_code=" + code
	page := l.open(query)
	in := l.press(t, query, page)
	in.check(t, "first", http.StatusSeeOther, "")
	signedIn, err := l.Verify(t.Context(), in.cookie.Value)
	if err != nil || signedIn.MemberID != otherCustomer || signedIn.Role != "owner" || time.Until(signedIn.ExpiresAt) < 59*time.Minute {
		t.Errorf("got %+v, %v", signedIn, err)
	}
	l.press(t, query, page).check(t, "the same page again", http.StatusSeeOther, "")
	other := l.open(query)
	l.press(t, query, other).check(t, "the link again", http.StatusUnauthorized, titleUsed)
	if sent := l.press(t, query, l.press(t, query, other)); sent.title() != titleSent || l.issuer.Recoveries() != 1 {
		t.Errorf("got %q, and %d requests for a new link", sent.title(), l.issuer.Recoveries())
	}
	l.handler = l.NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler(), OnError: refusals, Exchange: verify.Exchange{URL: l.issuer.URL() + "/", APIKeyFile: l.keyFile}})
	if l.press(t, query, other); len(got) != 1 || !errors.Is(got[0], verify.ErrCodeUsed) {
		t.Errorf("OnError got %v", got)
	}
}

// A scanner that GETs, HEADs and renders the link first burns nothing.
func TestSignInScannerBurnsNothing(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	calls := l.answers(nil)
	query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
	for _, headers := range [][]string{nil, asPage, {"Sec-Purpose", "prefetch"}, {"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if l.request(method, landingURL+"?"+query, "", headers...).signsIn() {
				t.Errorf("%s with %v signs in", method, headers)
			}
		}
	}
	l.request(http.MethodPost, landingURL+"?"+query, "redemption=0123456789abcdefghijklmnop")
	if calls.Load() != 0 {
		t.Errorf("the issuer got %d calls", calls.Load())
	}
	l.press(t, query, l.open(query)).check(t, "then the person", http.StatusSeeOther, "")
}

// What the issuer may answer, and what the page, OnError and the log make of it.
func TestSignInExchangeOutcomes(t *testing.T) {
	t.Parallel()
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, tc := range map[string]struct {
		answer func(l *landing) func(*http.Request) (*http.Response, error)
		status int
		title  string
		err    error
		log    string // a part of the line, "" for none
		calls  int64
	}{
		"used":            {answer: fixed(refused("code_used")), status: 401, title: titleUsed, err: verify.ErrCodeUsed, calls: 1},
		"expired":         {answer: fixed(refused("code_expired")), status: 401, title: titleExpired, err: verify.ErrExpired, calls: 1},
		"ended":           {answer: fixed(refused("session_ended")), status: 401, title: titleEnded, err: verify.ErrRevoked, calls: 1},
		"invalid":         {answer: fixed(refused("code_invalid")), status: 401, title: titleInvalid, err: verify.ErrCodeInvalid, log: "organization", calls: 1},
		"another problem": {answer: fixed(refused("missing")), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "status 422", calls: 1},
		"a wrong key":     {answer: fixed(reply(401, `{"error":"invalid_token"}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "customer_sessions:exchange", calls: 1},
		"no scope":        {answer: fixed(reply(403, `{}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "customer_sessions:exchange", calls: 1},
		"an old issuer":   {answer: fixed(reply(404, `{"detail":"Not Found"}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "older version", calls: 1},
		"no log":          {answer: fixed(reply(501, `{}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "log of revocations", calls: 1},
		"unavailable":     {answer: fixed(reply(503, `{}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "status 503", calls: 1},
		"too many":        {answer: fixed(reply(429, ``)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "status 429", calls: 1},
		"a redirect":      {answer: fixed(reply(307, ``, "Location", "https://evil.example/")), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "status 307", calls: 1},
		"no session":      {answer: fixed(reply(200, `{"token":7}`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "no session object", calls: 1},
		"a gateway":       {answer: fixed(reply(502, `<html>`)), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "status 502", calls: 2},
		"hangs":           {answer: fixed(hang), status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "timeout", calls: 2},
		"lost twice": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) { return l.lost },
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "connection", calls: 2,
		},
		"another customer's session": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				return session(longToken(l.issuer, map[string]any{"sub": otherCustomer}))
			},
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "another code", calls: 1,
		},
		"another session": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				return session(longToken(l.issuer, map[string]any{"sid": otherCustomer}))
			},
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "another code", calls: 1,
		},
		"a token for another audience": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				return session(longToken(l.issuer, map[string]any{"aud": "admin"}))
			},
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "compare issuer and audience", calls: 1,
		},
		"a forged token": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				token := longToken(l.issuer, nil)
				return session(token[:len(token)-8] + "AAAAAAAA")
			},
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "signature", calls: 1,
		},
		"a code as a token": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				return session(l.issuer.Code(verifytest.TokenSpec{}))
			},
			status: 503, title: titleUnavailable, err: verify.ErrIssuerUnavailable, log: "error=type", calls: 1,
		},
		"an expired token": {
			answer: func(l *landing) func(*http.Request) (*http.Response, error) {
				return session(l.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}))
			},
			status: 401, title: titleExpired, err: verify.ErrExpired, calls: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got error
				l := newLanding(t, nil)
				calls := l.answers(tc.answer(l))
				query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
				page := l.open(query)
				begun := time.Now()
				answer := l.press(t, query, page)
				answer.check(t, name, tc.status, tc.title)
				if took := time.Since(begun); took > 10*time.Second || calls.Load() != tc.calls {
					t.Errorf("%d calls took %v", calls.Load(), took)
				}
				if tc.status == 503 && fieldsOf(answer).Get("redemption") != fieldsOf(page).Get("redemption") {
					t.Error("the page does not keep the redemption")
				}
				if line := l.log.String(); !strings.Contains(line, tc.log) || (tc.log == "") != (line == "") {
					t.Errorf("got the log %q", line)
				}
				l.handler = l.NewSignIn(verify.SignInConfig{
					Next: http.NotFoundHandler(), Exchange: verify.Exchange{APIKeyFile: l.keyFile},
					OnError: func(_ http.ResponseWriter, _ *http.Request, err error) { got = err },
				})
				if l.press(t, query, page); !errors.Is(got, tc.err) {
					t.Errorf("OnError got %v, want %v", got, tc.err)
				}
			})
		})
	}
}

func fixed(answer func(*http.Request) (*http.Response, error)) func(*landing) func(*http.Request) (*http.Response, error) {
	return func(*landing) func(*http.Request) (*http.Response, error) { return answer }
}

// An answer that is lost burns nothing: the second attempt, or the second try of
// the same page, gets the session.
func TestSignInLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanding(t, nil)
		query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
		calls := l.answers(l.lost, nil)
		l.press(t, query, l.open(query)).check(t, "the second attempt", http.StatusSeeOther, "")
		if calls.Load() != 2 {
			t.Errorf("got %d calls", calls.Load())
		}
		query = "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{Claims: map[string]any{"sid": newID(t)}})
		l.answers(l.lost, l.lost, nil)
		page := l.press(t, query, l.open(query))
		page.check(t, "lost twice", http.StatusServiceUnavailable, titleUnavailable)
		time.Sleep(30 * time.Second)
		l.press(t, query, page).check(t, "the second try of the page", http.StatusSeeOther, "")
	})
}

// The portal is killed after the issuer has noted the exchange: its successor gets
// the session for the same form.
func TestSignInKilledBetween(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
	page := l.open(query)
	l.door.intercept = func(r *http.Request) (*http.Response, error) {
		_, _ = l.lost(r)
		panic(http.ErrAbortHandler)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the portal lives")
			}
		}()
		l.press(t, query, page)
	}()
	successor := newConsumer(t, l.issuer, nil)
	l.handler = successor.NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler(), Exchange: verify.Exchange{APIKeyFile: l.keyFile}})
	l.press(t, query, page).check(t, "the form again", http.StatusSeeOther, "")
}

// What happens between the link and the click counts.
func TestSignInCodeOfEndedSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*verifytest.Issuer){
		"the session":         func(i *verifytest.Issuer) { i.RevokeSession(verifytest.SessionID) },
		"log out everywhere":  func(i *verifytest.Issuer) { i.RevokeCustomer(verifytest.CustomerID) },
		"the whole shop":      func(i *verifytest.Issuer) { i.RevokeOrganization(verifytest.OrganizationID) },
		"the key that signed": func(i *verifytest.Issuer) { i.RevokeKey(i.KeyID()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLanding(t, nil)
				query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
				page := l.open(query)
				l.check(t, "another session", longToken(l.issuer, map[string]any{"sid": otherCustomer}), nil)
				end(l.issuer)
				time.Sleep(2 * time.Second)
				l.press(t, query, page).check(t, name, http.StatusUnauthorized, titleEnded)
			})
		})
	}
}

// The key is read for each exchange, so that it can be replaced; a file that is not
// right is the operator's matter, and the customer may try again.
func TestSignInAPIKeyFile(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	sent := ""
	pass := func(r *http.Request) (*http.Response, error) {
		sent = r.Header.Get("Authorization")
		return l.door.issuer.RoundTrip(r)
	}
	calls := l.answers(pass)
	query := "customer_session_code=" + l.issuer.Code(verifytest.TokenSpec{})
	page := l.open(query)
	if err := os.Remove(l.keyFile); err != nil {
		t.Fatal(err)
	}
	l.press(t, query, page).check(t, "no file", http.StatusServiceUnavailable, titleUnavailable)
	for _, text := range []string{"", " \n", "csk_secretone csk_secrettwo", "csk_secret\nx", "csk_secret\x00", strings.Repeat("csk_secret", 1000)} {
		l.writeKey(t, text)
		l.press(t, query, page).check(t, "a bad file", http.StatusServiceUnavailable, titleUnavailable)
	}
	log := l.log.String()
	if calls.Load() != 0 || strings.Count(log, "customer_sessions:exchange into the file") != 7 || strings.Contains(log, "csk_") {
		t.Errorf("%d calls, and the log %q", calls.Load(), log)
	}
	l.writeKey(t, "csk_old\n")
	l.press(t, query, page).check(t, "an old key", http.StatusServiceUnavailable, titleUnavailable)
	l.writeKey(t, " \t"+verifytest.APIKey+"\r\n")
	l.press(t, query, page).check(t, "a new key", http.StatusSeeOther, "")
	if sent != "Bearer "+verifytest.APIKey {
		t.Errorf("got %q", sent)
	}
}

// A portal without Exchange says in its log what is missing.
func TestSignInWithoutExchange(t *testing.T) {
	t.Parallel()
	l := newLanding(t, func(config *verify.SignInConfig) { config.Exchange = verify.Exchange{} })
	l.open("customer_session_code="+l.issuer.Code(verifytest.TokenSpec{})).check(t, "a code", http.StatusServiceUnavailable, titleUnavailable)
	if !strings.Contains(l.log.String(), "set SignInConfig.Exchange") {
		t.Errorf("got the log %q", l.log)
	}
	l.open("customer_session_token="+longToken(l.issuer, nil)).check(t, "a token", http.StatusSeeOther, "")
}

// What cannot work is found when the portal starts.
func TestNewSignInPanics(t *testing.T) {
	t.Parallel()
	s := newConsumer(t, verifytest.NewIssuer(t, verifytest.Config{}), nil)
	unlocated := newConsumer(t, verifytest.NewIssuer(t, verifytest.Config{}), func(config *verify.Config) {
		config.JWKSetURL, config.MaxRevocationAge = "https://cdn.example.com/keys", -1
	})
	next := http.NotFoundHandler()
	for name, tc := range map[string]struct {
		c      *consumer
		config verify.SignInConfig
	}{
		"no Next":          {s, verify.SignInConfig{}},
		"URL without key":  {s, verify.SignInConfig{Next: next, Exchange: verify.Exchange{URL: "https://sessions.example.com"}}},
		"plain http":       {s, verify.SignInConfig{Next: next, Exchange: verify.Exchange{URL: "http://sessions.example.com", APIKeyFile: "key"}}},
		"no URL":           {s, verify.SignInConfig{Next: next, Exchange: verify.Exchange{URL: "sessions.example.com", APIKeyFile: "key"}}},
		"nowhere to go to": {unlocated, verify.SignInConfig{Next: next, Exchange: verify.Exchange{APIKeyFile: "key"}}},
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "verify: SignInConfig") {
					t.Errorf("%s: got %q", name, text)
				}
			}()
			tc.c.NewSignIn(tc.config)
		}()
	}
	unlocated.NewSignIn(verify.SignInConfig{Next: next, Exchange: verify.Exchange{URL: "http://127.0.0.1:8080", APIKeyFile: "key"}})
}

// The request to the issuer is as agreed, and nothing secret is logged on the way.
func TestSignInExchangeRequest(t *testing.T) {
	t.Parallel()
	l := newLanding(t, nil)
	code := l.issuer.Code(verifytest.TokenSpec{})
	var sent *http.Request
	body := ""
	l.answers(func(r *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		sent, body = r, string(b)
		return nil, errors.Join(err, errors.New("connection refused"), context.Canceled)
	})
	page := l.open("customer_session_code=" + code)
	l.press(t, "customer_session_code="+code, page)
	redemption := fieldsOf(page).Get("redemption")
	want := `{"code":"` + code + `","redemption":"` + redemption + `"}`
	if sent.Method != http.MethodPost || sent.URL.String() != l.issuer.URL()+wire.ExchangePath || body != want || sent.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s %v with %q", sent.Method, sent.URL, sent.Header, body)
	}
	for _, secret := range []string{code, redemption, verifytest.APIKey} {
		if strings.Contains(l.log.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
}
