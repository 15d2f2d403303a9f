package verify_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// A consumer is a verifier with the issuer that it trusts.
type consumer struct {
	*verify.Verifier

	issuer *verifytest.Issuer
	log    *logbook
}

// newConsumer returns a consumer whose issuer's keys never get old, so that its
// tests are about revocations.
func newConsumer(t *testing.T, issuer *verifytest.Issuer, change func(*verify.Config)) *consumer {
	t.Helper()
	c := &consumer{issuer: issuer, log: &logbook{}}
	config := issuer.Config()
	config.MaxStale, config.Logger = 100*time.Hour, c.log.logger()
	if change != nil {
		change(&config)
	}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	c.Verifier = v
	return c
}

// check verifies a token and compares the error.
func (c *consumer) check(t *testing.T, when, token string, want error) {
	t.Helper()
	if _, err := c.Verify(t.Context(), token); !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: got %v, want %v", when, err, want)
	}
}

// longToken returns a token that outlasts every test here.
func longToken(issuer *verifytest.Issuer, claims map[string]any) string {
	return issuer.Token(verifytest.TokenSpec{Lifetime: 24 * time.Hour, Claims: claims})
}

// Each scope ends what it names, within the pause of the feed, whether the token is
// known or new; and nothing else.
func TestRevocationOfEachScope(t *testing.T) {
	t.Parallel()
	const other = "00000000-0000-4000-8000-000000000000"
	member := func(changes map[string]any) map[string]any {
		claims := map[string]any{"client_id": "shop", "member_id": memberID, "role": "owner"}
		maps.Copy(claims, changes)
		return claims
	}
	for name, tc := range map[string]struct {
		revoke func(*verifytest.Issuer)
		// spared are claims of a session that goes on.
		spared map[string]any
	}{
		"session":      {func(i *verifytest.Issuer) { i.RevokeSession(verifytest.SessionID) }, map[string]any{"sid": other}},
		"customer":     {func(i *verifytest.Issuer) { i.RevokeCustomer(verifytest.CustomerID) }, map[string]any{"sub": other}},
		"member":       {func(i *verifytest.Issuer) { i.RevokeMember(memberID) }, map[string]any{"member_id": other}},
		"no member":    {func(i *verifytest.Issuer) { i.RevokeMember(memberID) }, map[string]any{"member_id": nil, "role": nil}},
		"API key":      {func(i *verifytest.Issuer) { i.RevokeAPIKey("shop") }, map[string]any{"client_id": "other"}},
		"no API key":   {func(i *verifytest.Issuer) { i.RevokeAPIKey("shop") }, map[string]any{"client_id": nil}},
		"organization": {func(i *verifytest.Issuer) { i.RevokeOrganization(verifytest.OrganizationID) }, map[string]any{"org": other}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				c := newConsumer(t, issuer, nil)
				doomed, unseen, spared := longToken(issuer, member(nil)), longToken(issuer, member(nil)), longToken(issuer, member(tc.spared))
				c.check(t, "before", doomed, nil)
				c.check(t, "before", spared, nil)
				time.Sleep(time.Minute) // in the middle of a request
				tc.revoke(issuer)
				time.Sleep(1100 * time.Millisecond)
				c.check(t, "known", doomed, verify.ErrRevoked)
				c.check(t, "unseen", unseen, verify.ErrRevoked)
				c.check(t, "another session", spared, nil)
				time.Sleep(2 * time.Second)
				if later := longToken(issuer, member(nil)); name != "session" {
					c.check(t, "a session of later", later, nil)
				}
				time.Sleep(23 * time.Hour)
				c.check(t, "much later", doomed, verify.ErrRevoked)
				c.check(t, "another session", spared, nil)
			})
		})
	}
}

// A key that the feed names is refused although the JWK Set still has it.
func TestRevocationOfKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		c.check(t, "before", token, nil)
		issuer.RevokeKey(issuer.KeyID())
		time.Sleep(1100 * time.Millisecond)
		c.check(t, "after", token, verify.ErrRevoked)
		c.check(t, "unseen", longToken(issuer, nil), verify.ErrRevoked)
		issuer.Activate(issuer.Publish(jwk.ES256))
		time.Sleep(verifytest.DefaultMaxAge)
		c.check(t, "of another key", longToken(issuer, nil), nil)
	})
}

// Whatever the feed does wrong: tokens are good for as long as the last good answer
// allows, then they cannot be judged, and nobody is called invalid; sessions that
// were ended stay ended; afterwards all heals by itself.
func TestFeedFails(t *testing.T) {
	t.Parallel()
	const maxAge = 2 * time.Minute
	for name, tc := range map[string]struct {
		failure verifytest.FeedFailure
		word    string
	}{
		"down":         {verifytest.FeedDown, "connection"},
		"hang":         {verifytest.FeedHang, "timeout"},
		"unavailable":  {verifytest.FeedUnavailable, "status"},
		"not found":    {verifytest.FeedNotFound, "not_found"},
		"cached":       {verifytest.FeedCached, "nonce"},
		"gap":          {verifytest.FeedGap, "after"},
		"other issuer": {verifytest.FeedOtherIssuer, "issuer"},
		"bomb":         {verifytest.FeedBomb, "too_large"},
		"million":      {verifytest.FeedMillion, "too_many"},
		"truncated":    {verifytest.FeedTruncated, "document"},
		"garbage":      {verifytest.FeedGarbage, "document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: maxAge})
				c := newConsumer(t, issuer, nil)
				good, ended := longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"}), longToken(issuer, nil)
				issuer.RevokeSession(verifytest.SessionID)
				c.check(t, "at first", good, nil)
				c.check(t, "at first", ended, verify.ErrRevoked)
				time.Sleep(50 * time.Minute)
				before := c.Health().Revocations.Age
				requests := issuer.FeedRequests()
				issuer.FailFeed(tc.failure)
				time.Sleep(maxAge - before)
				c.check(t, "at the end of the age", good, nil)
				time.Sleep(time.Second)
				start := time.Now()
				c.check(t, "after it", good, verify.ErrRevocationsUnavailable)
				c.check(t, "unseen", longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"}), verify.ErrRevocationsUnavailable)
				c.check(t, "ended", ended, verify.ErrRevoked)
				if waited := time.Since(start); waited > 3*2*time.Second {
					t.Errorf("three callers waited for %v", waited)
				}
				h := c.Health().Revocations
				if h.State != verify.Unavailable || h.LastError != tc.word || h.Age < maxAge {
					t.Errorf("health is %+v, want unavailable because of %q", h, tc.word)
				}
				refused := !slices.Contains([]string{"connection", "timeout", "status", "not_found"}, tc.word)
				if (h.Refused[tc.word] > 0) != refused {
					t.Errorf("refused answers: %v", h.Refused)
				}
				time.Sleep(2 * time.Minute)
				lines := strings.Count(c.log.String(), "cannot follow the issuer's feed of revocations")
				if lines != 1 || !strings.Contains(c.log.String(), "error="+tc.word) {
					t.Errorf("the log has %d lines about it: %s", lines, c.log)
				}
				if n := issuer.FeedRequests() - requests; n > 25 {
					t.Errorf("%d requests in 4 minutes of an outage", n)
				}
				issuer.FailFeed(verifytest.FeedHealthy)
				time.Sleep(46 * time.Second) // a retry and, with a hanging issuer, its time-out
				c.check(t, "afterwards", good, nil)
				c.check(t, "afterwards", ended, verify.ErrRevoked)
				if !strings.Contains(c.log.String(), "following the issuer's feed of revocations again") {
					t.Errorf("the log does not say that it is over: %s", c.log)
				}
			})
		})
	}
}

// However long an outage was, a verifier asks again soon enough for a short age.
func TestFeedRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const maxAge = 16 * time.Second
		issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: maxAge})
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		for range 5 {
			c.check(t, "before", token, nil)
			issuer.FailFeed(verifytest.FeedUnavailable)
			time.Sleep(5 * time.Minute)
			c.check(t, "during the outage", token, verify.ErrRevocationsUnavailable)
			issuer.FailFeed(verifytest.FeedHealthy)
			time.Sleep(maxAge / 4)
			c.check(t, "a quarter of the age later", token, nil)
		}
	})
}

// A feed that comes from another log, or from an earlier state, makes the verifier
// ask for everything, and forget nothing.
func TestFeedOfAnotherLog(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*verifytest.Issuer){
		"a new log":                  (*verifytest.Issuer).ReplaceLog,
		"a lower seq":                func(i *verifytest.Issuer) { i.FailFeed(verifytest.FeedLowerSeq) },
		"a delta of another log":     func(i *verifytest.Issuer) { i.FailFeed(verifytest.FeedOtherLog) },
		"the log is switched off":    func(i *verifytest.Issuer) { i.EnableRevocations(false) },
		"off for a while, and on":    func(i *verifytest.Issuer) { i.EnableRevocations(false); i.EnableRevocations(true) },
		"a new log after an old one": func(i *verifytest.Issuer) { i.ReplaceLog(); i.ReplaceLog() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				c := newConsumer(t, issuer, nil)
				ended, good := longToken(issuer, nil), longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"})
				issuer.RevokeAPIKey("another")
				issuer.RevokeSession(verifytest.SessionID)
				c.check(t, "at first", ended, verify.ErrRevoked)
				time.Sleep(10 * time.Minute)
				change(issuer)
				time.Sleep(14 * time.Minute)
				c.check(t, "after the change", ended, verify.ErrRevoked)
				c.check(t, "after the change", good, nil)
				time.Sleep(2 * time.Minute)
				want := error(nil)
				if strings.HasPrefix(name, "the log is switched off") {
					// It does not come back without a log: that may be an accident.
					want = verify.ErrRevocationsUnavailable
				}
				c.check(t, "much later", good, want)
				c.check(t, "much later", ended, verify.ErrRevoked)
			})
		})
	}
}

// An issuer without a log can end no session, and that is not an outage. With its
// log switched on, consumers learn of it by themselves.
func TestFeedDisabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.EnableRevocations(false)
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		for range 10 {
			c.check(t, "without a log", token, nil)
			time.Sleep(10 * time.Minute)
		}
		if h := c.Health().Revocations; h.State != verify.Fresh || h.Enabled {
			t.Errorf("health is %+v", h)
		}
		issuer.EnableRevocations(true)
		issuer.RevokeSession(verifytest.SessionID)
		time.Sleep(3 * time.Second)
		c.check(t, "with one", token, verify.ErrRevoked)
		if h := c.Health().Revocations; !h.Enabled || h.Entries != 1 {
			t.Errorf("health is %+v", h)
		}
	})
}

// Proxies that long requests do not survive, or that hold answers back, cost
// requests, and nothing else.
func TestFeedBehindProxy(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]verifytest.FeedFailure{
		"that cuts off": verifytest.FeedCutOff, "that buffers": verifytest.FeedBuffered,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: 2 * time.Minute})
				issuer.FailFeed(failure)
				c := newConsumer(t, issuer, nil)
				token := longToken(issuer, nil)
				if err := c.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 100 {
					c.check(t, "behind the proxy", token, nil)
					time.Sleep(7 * time.Second)
				}
				if n := issuer.FeedRequests(); n > 300 {
					t.Errorf("%d requests in 12 minutes", n)
				}
				issuer.RevokeSession(verifytest.SessionID)
				time.Sleep(12 * time.Second) // what the proxy holds back, twice, and a pause
				c.check(t, "after the end", token, verify.ErrRevoked)
				if c.log.String() != "" {
					t.Errorf("this is called an outage: %s", c.log)
				}
			})
		})
	}
}

// A cache on the way that answers with stale copies is noticed: it cannot know the
// nonce. What it holds is not believed, neither to end nor to keep a session.
func TestFeedBehindCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		c.check(t, "at first", token, nil)
		issuer.FailFeed(verifytest.FeedCached)
		issuer.RevokeSession(verifytest.SessionID)
		for range 200 {
			time.Sleep(10 * time.Second)
			_, err := c.Verify(t.Context(), token)
			if age := c.Health().Revocations.Age; age > verifytest.DefaultMaxRevocationAge {
				if !errors.Is(err, verify.ErrRevocationsUnavailable) {
					t.Fatalf("at the age of %v: %v", age, err)
				}
			} else if err != nil {
				t.Fatalf("at the age of %v: %v", age, err)
			}
		}
		if h := c.Health().Revocations; h.Refused["nonce"] == 0 {
			t.Errorf("no answer was refused: %+v", h)
		}
	})
}

// The first callers wait for the feed, all for one request, and not for long.
func TestFeedFirstUse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failure verifytest.FeedFailure
		waited  time.Duration
		want    error
	}{
		"good":      {verifytest.FeedHealthy, 0, nil},
		"down":      {verifytest.FeedDown, 0, verify.ErrRevocationsUnavailable},
		"not found": {verifytest.FeedNotFound, 0, verify.ErrRevocationsUnavailable},
		"hang":      {verifytest.FeedHang, 2 * time.Second, verify.ErrRevocationsUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				issuer.FailFeed(tc.failure)
				c := newConsumer(t, issuer, nil)
				if h := c.Health().Revocations; !h.Followed || h.State != verify.Unavailable || issuer.FeedRequests() != 0 {
					t.Errorf("before the first use: %+v, %d requests", h, issuer.FeedRequests())
				}
				token, start := longToken(issuer, nil), time.Now()
				var callers sync.WaitGroup
				for range 100 {
					callers.Go(func() { c.check(t, "a first caller", token, tc.want) })
				}
				callers.Wait()
				if waited := time.Since(start); waited != tc.waited {
					t.Errorf("waited for %v, want %v", waited, tc.waited)
				}
				if n := issuer.FeedRequests(); n != 1 {
					t.Errorf("%d requests for 100 callers", n)
				}
				// A caller's own context ends its wait.
				if name == "hang" {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, err := c.Verify(ctx, token)
					if !errors.Is(err, verify.ErrRevocationsUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
						t.Errorf("after %v: %v", time.Since(start), err)
					}
				}
				if name == "not found" && !strings.Contains(c.log.String(), "upgrade the issuer first") {
					t.Errorf("the log does not say what to do: %s", c.log)
				}
				issuer.FailFeed(verifytest.FeedHealthy)
				time.Sleep(12 * time.Second)
				c.check(t, "soon after", token, nil)
			})
		})
	}
}

// While requests fail, callers get an answer at once: thousands that wait for an
// issuer that hangs would take the service down with it.
func TestFeedHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.FailFeed(verifytest.FeedHang)
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		c.check(t, "the first caller", token, verify.ErrRevocationsUnavailable)
		time.Sleep(10 * time.Second) // the first request has failed
		for range 1000 {
			start := time.Now()
			c.check(t, "a later one", token, verify.ErrRevocationsUnavailable)
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("waited for %v, although %d requests have hung", waited, issuer.FeedRequests())
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A verifier that nobody uses stops asking, and asks before it judges again.
func TestFeedRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		c.check(t, "at first", token, nil)
		time.Sleep(70 * time.Minute)
		rested := issuer.FeedRequests()
		time.Sleep(3 * time.Hour)
		if n := issuer.FeedRequests() - rested; n != 0 {
			t.Errorf("%d requests while nobody uses it", n)
		}
		c.check(t, "the next caller", token, nil)
		if n := issuer.FeedRequests() - rested; n != 1 {
			t.Errorf("the next caller made %d requests", n)
		}
		issuer.RevokeSession(verifytest.SessionID)
		time.Sleep(2 * time.Second)
		c.check(t, "it follows again", token, verify.ErrRevoked)
		time.Sleep(4 * time.Hour)
		issuer.FailFeed(verifytest.FeedHang)
		start := time.Now()
		c.check(t, "into an outage", longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"}), verify.ErrRevocationsUnavailable)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("the next caller waited for %v", waited)
		}
	})
}

// In an outage, callers get their answer at once, and leave asking to the verifier,
// which does so less and less often, down to eight times in the maximum age.
func TestFeedOutageWithCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: time.Minute})
		c := newConsumer(t, issuer, nil)
		token := longToken(issuer, nil)
		c.check(t, "at first", token, nil)
		issuer.FailFeed(verifytest.FeedUnavailable)
		time.Sleep(61 * time.Second)
		requests := issuer.FeedRequests()
		for range 3000 {
			start := time.Now()
			c.check(t, "in the outage", token, verify.ErrRevocationsUnavailable)
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("a caller waited for %v", waited)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := issuer.FeedRequests() - requests; n > 5*8 {
			t.Errorf("%d requests in 5 minutes", n)
		}
	})
}

// A route may demand to know more than others, and the verifier asks accordingly.
func TestMiddlewareMaxRevocationAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, nil)
		page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		read := c.Middleware(page)
		pay := c.NewMiddleware(verify.MiddlewareConfig{MaxRevocationAge: 20 * time.Second})(page)
		token := "Bearer " + longToken(issuer, nil)
		visits := func(when string, readStatus, payStatus int) {
			t.Helper()
			for want, handler := range map[*int]http.Handler{&readStatus: read, &payStatus: pay} {
				answer := visit(handler, http.MethodGet, "/", "Authorization", token)
				answer.Body.Close()
				if answer.StatusCode != *want {
					t.Errorf("%s: got %d, want %d", when, answer.StatusCode, *want)
				}
				if answer.StatusCode == http.StatusServiceUnavailable &&
					(answer.Header.Get("Retry-After") == "" || answer.Header.Get("WWW-Authenticate") != "") {
					t.Errorf("%s: the headers are %v", when, answer.Header)
				}
			}
		}
		for range 300 {
			time.Sleep(time.Second)
			visits("while all is well", http.StatusOK, http.StatusOK)
			if age := c.Health().Revocations.Age; age > 12*time.Second {
				t.Fatalf("the age is %v", age)
			}
		}
		issuer.FailFeed(verifytest.FeedDown)
		time.Sleep(20 * time.Second)
		visits("in an outage", http.StatusOK, http.StatusServiceUnavailable)
		time.Sleep(15 * time.Minute)
		visits("long after", http.StatusServiceUnavailable, http.StatusServiceUnavailable)
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(36 * time.Second)
		visits("afterwards", http.StatusOK, http.StatusOK)
	})
}

// A limit that no feed can keep would only show as 503s, under load.
func TestMiddlewareRefusesMaxRevocationAge(t *testing.T) {
	t.Parallel()
	c := newConsumer(t, verifytest.NewIssuer(t, verifytest.Config{}), nil)
	for maxAge, want := range map[time.Duration]bool{-1: true, 1: true, time.Second - 1: true, 0: false, time.Second: false} {
		panics := func() (panics bool) {
			defer func() { panics = recover() != nil }()
			c.NewMiddleware(verify.MiddlewareConfig{MaxRevocationAge: maxAge})
			return false
		}()
		if panics != want {
			t.Errorf("%v: panics is %t", maxAge, panics)
		}
	}
}

// The smaller of the feed's limit and Config.MaxRevocationAge holds.
func TestMaxRevocationAge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ config, want time.Duration }{
		{0, 15 * time.Minute},
		{time.Minute, time.Minute},
		{time.Hour, 15 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := verifytest.NewIssuer(t, verifytest.Config{})
			c := newConsumer(t, issuer, func(config *verify.Config) { config.MaxRevocationAge = tc.config })
			token := longToken(issuer, nil)
			c.check(t, "at first", token, nil)
			issuer.FailFeed(verifytest.FeedDown)
			// The answers of this issuer are 0.1 s old.
			time.Sleep(tc.want - 100*time.Millisecond)
			c.check(t, "at the limit", token, nil)
			time.Sleep(time.Nanosecond)
			c.check(t, "after it", token, verify.ErrRevocationsUnavailable)
			if got := c.Health().Revocations.MaxAge; got != tc.want {
				t.Errorf("Health: got %v, want %v", got, tc.want)
			}
		})
	}
}

// No route can get older knowledge than the verifier allows.
func TestMiddlewareLoosensNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, func(config *verify.Config) { config.MaxRevocationAge = time.Minute })
		page := c.NewMiddleware(verify.MiddlewareConfig{MaxRevocationAge: time.Hour})(http.NotFoundHandler())
		token := longToken(issuer, nil)
		c.check(t, "at first", token, nil)
		issuer.FailFeed(verifytest.FeedDown)
		time.Sleep(2 * time.Minute)
		answer := visit(page, http.MethodGet, "/", "Authorization", "Bearer "+token)
		answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %d", answer.StatusCode)
		}
	})
}

// Where nothing is followed, nothing is asked, and a session is good until it
// expires.
func TestFeedNotFollowed(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	keys, err := jwk.ParseSet(issuer.JWKSet())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*verify.Config){
		"by name":      func(c *verify.Config) { c.MaxRevocationAge = -1 },
		"keys in code": func(c *verify.Config) { c.Keys, c.JWKSetURL, c.HTTPClient, c.MaxStale = keys, "", nil, 0 },
		"a key source": func(c *verify.Config) {
			c.KeySource, c.JWKSetURL, c.HTTPClient, c.MaxStale = setSource{keys}, "", nil, 0
		},
		"another place": func(c *verify.Config) { c.JWKSetURL += "?moved" },
	} {
		c := newConsumer(t, issuer, change)
		token := longToken(issuer, nil)
		issuer.RevokeSession(verifytest.SessionID)
		c.check(t, name, token, nil)
		if err := errors.Join(c.Ready(t.Context()), c.Refresh(t.Context())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if h := c.Health().Revocations; h.Followed || h.State != "" {
			t.Errorf("%s: health is %+v", name, h)
		}
	}
	if n := issuer.FeedRequests(); n != 0 {
		t.Errorf("%d requests", n)
	}
	// With an address, all of them follow.
	for name, change := range map[string]func(*verify.Config){
		"keys in code":  func(c *verify.Config) { c.Keys, c.JWKSetURL, c.MaxStale = keys, "", 0 },
		"a key source":  func(c *verify.Config) { c.KeySource, c.JWKSetURL, c.MaxStale = setSource{keys}, "", 0 },
		"another place": func(c *verify.Config) { c.JWKSetURL += "?moved" },
	} {
		c := newConsumer(t, issuer, func(config *verify.Config) {
			config.RevocationsURL = issuer.URL() + wire.RevocationsPath
			change(config)
		})
		c.check(t, name, longToken(issuer, nil), verify.ErrRevoked)
	}
}

// A setSource is a KeySource.
type setSource struct{ set *jwk.Set }

func (s setSource) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if key := s.set.Key(keyID); key != nil {
		return key, nil
	}
	return nil, verify.ErrUnknownKey
}

func TestNewRefusesRevocations(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]verify.Config{
		"http":                    {RevocationsURL: "http://sessions.example.com/feed"},
		"a user":                  {RevocationsURL: "https://a@sessions.example.com/feed"},
		"relative":                {RevocationsURL: "/feed"},
		"a nanosecond":            {MaxRevocationAge: 1},
		"an age without a feed":   {KeySource: setSource{}, MaxRevocationAge: time.Hour},
		"an age beside no feed":   {JWKSetURL: "https://sessions.example.com/keys", MaxRevocationAge: time.Hour},
		"a file without a feed":   {KeySource: setSource{}, SnapshotFile: "keys.json"},
		"a client without a feed": {KeySource: setSource{}, HTTPClient: http.DefaultClient, RevocationsURL: "https://a.example/feed", MaxRevocationAge: -1},
	} {
		config.Issuer, config.Audience = testIssuer, testAudience
		if _, err := verify.New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, url := range []string{"https://sessions.example.com/feed?tenant=1", "http://127.0.0.1:8080/feed"} {
		if _, err := verify.New(verify.Config{Issuer: testIssuer, Audience: testAudience, RevocationsURL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
