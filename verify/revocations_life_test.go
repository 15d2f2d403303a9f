package verify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// What lasts longer than its request ends as soon as the feed says so, and when that
// can no longer be known.
func TestSessionContextRevokedByFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{Lifetime: 10 * time.Hour})
		ctx, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		// Much longer than a verifier without any use follows.
		time.Sleep(3*time.Hour + time.Second)
		checkOpen(t, "before", ctx)
		for age := v.Health().Revocations.Age; age < 30*time.Second || age > 45*time.Second; age = v.Health().Revocations.Age {
			time.Sleep(time.Second) // into the middle of a request
		}
		issuer.RevokeSession(verifytest.SessionID)
		checkDone(t, v, ctx, verify.ErrRevoked) // without any delay
		ctx, cancel = v.SessionContext(t.Context(), session)
		defer cancel()
		checkDone(t, v, ctx, verify.ErrRevoked)
	})
}

func TestSessionContextRevocationsUnavailable(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]verifytest.FeedFailure{"down": verifytest.FeedDown, "hang": verifytest.FeedHang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{Lifetime: 10 * time.Hour})
				ctx, cancel := v.SessionContext(t.Context(), session)
				defer cancel()
				issuer.FailFeed(failure)
				time.Sleep(verifytest.DefaultMaxRevocationAge - v.Health().Revocations.Age)
				checkOpen(t, "as long as the knowledge may be used", ctx)
				time.Sleep(2 * time.Millisecond)
				checkDone(t, v, ctx, verify.ErrRevocationsUnavailable)
			})
		})
	}
}

// A restart during an outage has what was known, and its age.
func TestRevocationSnapshot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.json")
	withFile := func(c *verify.Config) { c.SnapshotFile = file }
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, withFile)
		ended, good := longToken(issuer, nil), longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"})
		c.check(t, "at first", good, nil)
		time.Sleep(40 * time.Second)
		issuer.RevokeSession(verifytest.SessionID)
		withdrawn := issuer.KeyID()
		issuer.Activate(issuer.Publish(jwk.ES256))
		issuer.RevokeKey(withdrawn)
		of := issuer.Token(verifytest.TokenSpec{KeyID: withdrawn, Lifetime: 24 * time.Hour})
		good = longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"})
		time.Sleep(2 * time.Second)
		c.check(t, "at first", ended, verify.ErrRevoked)
		c.check(t, "at first, a revoked key", of, verify.ErrRevoked)
		assertPrivate(t, file)
		time.Sleep(50 * time.Minute)
		c.Close()
		before := c.Health().Revocations.Age

		issuer.FailFeed(verifytest.FeedHang)
		restarted := newConsumer(t, issuer, withFile)
		start := time.Now()
		restarted.check(t, "after a restart", good, nil)
		restarted.check(t, "after a restart", ended, verify.ErrRevoked)
		restarted.check(t, "after a restart, a revoked key", of, verify.ErrRevoked)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited for %v although the snapshot has it all", waited)
		}
		// It is written every tenth of the limit, and a request takes 25 s. The
		// clocks of two machines may be 30 s apart.
		h := restarted.Health().Revocations
		if h.Age < before+30*time.Second || h.Age > before+30*time.Second+90*time.Second+26*time.Second {
			t.Errorf("the age is %v after %v", h.Age, before)
		}
		time.Sleep(verifytest.DefaultMaxRevocationAge - h.Age)
		restarted.check(t, "at the end", good, nil)
		time.Sleep(time.Nanosecond)
		restarted.check(t, "after it", good, verify.ErrRevocationsUnavailable)
		restarted.check(t, "after it", ended, verify.ErrRevoked)
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(46 * time.Second)
		restarted.check(t, "afterwards", good, nil)
	})
}

// A file that cannot be trusted is ignored, with a line of log, and so is one that
// is not there, without.
func TestRevocationSnapshotIgnored(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(file, content string) error
		want  string
	}{
		"none":            {func(file, _ string) error { return os.Remove(file) }, ""},
		"damaged":         {func(file, content string) error { return write(file, content[:len(content)/2]) }, "damaged"},
		"an unknown name": {func(file, content string) error { return write(file, `{"a":1,`+content[1:]) }, "damaged"},
		"a bad entry":     {func(file, content string) error { return write(file, strings.Replace(content, `",0,`, `",-1,`, 1)) }, "damaged"},
		"another issuer": {func(file, content string) error {
			return write(file, strings.Replace(content, testIssuer, testIssuer+"x", 1))
		}, "another issuer"},
		"another feed": {func(file, content string) error {
			return write(file, strings.Replace(content, `-revocations",`, `-revocations?",`, 1))
		}, "another issuer"},
		"from the future":  {func(file, content string) error { return write(file, later(content)) }, "future"},
		"others may write": {func(file, _ string) error { return os.Chmod(file, 0o622) }, "others may write"},
		"a folder":         {func(file, _ string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "keys.json")
			withFile := func(c *verify.Config) { c.SnapshotFile = file }
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{Issuer: testIssuer})
				issuer.RevokeSession(verifytest.SessionID)
				c := newConsumer(t, issuer, withFile)
				token := longToken(issuer, nil)
				c.check(t, "at first", token, verify.ErrRevoked)
				c.Close()
				content, err := os.ReadFile(file + ".revocations")
				if err != nil {
					t.Fatal(err)
				}
				if err := tc.spoil(file+".revocations", string(content)); err != nil {
					t.Fatal(err)
				}
				issuer.FailFeed(verifytest.FeedDown)
				restarted := newConsumer(t, issuer, withFile)
				restarted.check(t, "after a restart", token, verify.ErrRevocationsUnavailable)
				log := restarted.log.String()
				if ignored := strings.Contains(log, "ignoring the snapshot of revocations"); ignored != (tc.want != "") || !strings.Contains(log, tc.want) {
					t.Errorf("the log does not say %q: %s", tc.want, log)
				}
			})
		})
	}
}

func write(file, content string) error { return os.WriteFile(file, []byte(content), 0o600) }

// later moves a snapshot a minute into the future.
func later(content string) string {
	now := time.Now().Unix()
	return strings.Replace(content, fmt.Sprintf(`"as_of":%d,`, now-1), fmt.Sprintf(`"as_of":%d,`, now+60), 1)
}

// A feed with 10,000 entries ends 10,000 sessions, and no other.
func TestFeedOfTenThousand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		for i := range 10_000 {
			issuer.RevokeSession(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
		}
		c := newConsumer(t, issuer, nil)
		c.check(t, "another", longToken(issuer, nil), nil)
		for i := 0; i < 10_000; i += 1111 {
			token := longToken(issuer, map[string]any{"sid": fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
			c.check(t, "an ended one", token, verify.ErrRevoked)
		}
		if n := c.Health().Revocations.Entries; n != 10_000 {
			t.Errorf("%d entries", n)
		}
		time.Sleep(26 * time.Hour)
		c.check(t, "to wake it", longToken(issuer, nil), nil)
		if n := c.Health().Revocations.Entries; n != 0 {
			t.Errorf("%d entries are remembered for ever", n)
		}
	})
}

// Entries of a scope that comes one day are ignored and counted; the others hold.
func TestFeedOfTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.AddRevocation(wire.Revocation{Scope: "device", DropAt: time.Now().Add(time.Hour).Unix()})
		issuer.RevokeSession(verifytest.SessionID)
		c := newConsumer(t, issuer, nil)
		c.check(t, "ended", longToken(issuer, nil), verify.ErrRevoked)
		if h := c.Health().Revocations; h.Unknown != 1 || h.Entries != 1 || h.State != verify.Fresh {
			t.Errorf("health is %+v", h)
		}
	})
}

// Ready waits for revocations as well as for keys, and Refresh asks for both.
func TestReadyAndRefreshRevocations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.FailFeed(verifytest.FeedDown)
		c := newConsumer(t, issuer, nil)
		impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Ready(impatient); !errors.Is(err, verify.ErrRevocationsUnavailable) || errors.Is(err, verify.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready without a feed: %v", err)
		}
		if err := c.Refresh(t.Context()); !errors.Is(err, verify.ErrRevocationsUnavailable) || errors.Is(err, verify.ErrKeysUnavailable) {
			t.Errorf("Refresh without a feed: %v", err)
		}
		issuer.FailFeed(verifytest.FeedHealthy)
		if err := c.Ready(t.Context()); err != nil {
			t.Errorf("Ready with a feed: %v", err)
		}
		// In the middle of a request that waits for news.
		time.Sleep(10 * time.Second)
		keys, feed, start := issuer.Requests(), issuer.FeedRequests(), time.Now()
		if err := c.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if issuer.Requests() != keys+1 || issuer.FeedRequests() != feed+1 || time.Since(start) != 0 || c.Health().Revocations.Age > time.Second {
			t.Errorf("%d and %d requests in %v, age %v", issuer.Requests()-keys, issuer.FeedRequests()-feed, time.Since(start), c.Health().Revocations.Age)
		}
		// And in the pause after one.
		if err := c.Refresh(t.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		issuer.FailFeed(verifytest.FeedHang)
		time.Sleep(2 * time.Second)
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Refresh(hurried); !errors.Is(err, verify.ErrRevocationsUnavailable) || time.Since(start) != 3*time.Second {
			t.Errorf("Refresh with a feed that hangs: %v after %v", err, time.Since(start))
		}
		c.check(t, "knowledge from before stays in use", longToken(issuer, nil), nil)
	})
}

// Close ends the request that waits for news, and everything else.
func TestCloseFollowing(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]verifytest.FeedFailure{
		"healthy": verifytest.FeedHealthy, "down": verifytest.FeedDown, "hang": verifytest.FeedHang,
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := verifytest.NewIssuer(t, verifytest.Config{})
			v, err := verify.New(issuer.Config())
			if err != nil {
				t.Fatal(err)
			}
			token := longToken(issuer, nil)
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			issuer.FailFeed(failure)
			time.Sleep(10 * time.Second)
			start := time.Now()
			v.Close()
			v.Close()
			if waited := time.Since(start); waited != 0 {
				t.Errorf("%s: Close took %v", name, waited)
			}
			requests := issuer.FeedRequests()
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("%s: what is known is not used after Close: %v", name, err)
			}
			time.Sleep(verifytest.DefaultMaxRevocationAge)
			start = time.Now()
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrRevocationsUnavailable) || time.Since(start) != 0 {
				t.Errorf("%s: long after Close: %v after %v", name, err, time.Since(start))
			}
			if err := errors.Join(v.Ready(t.Context()), v.Refresh(t.Context())); !errors.Is(err, verify.ErrRevocationsUnavailable) {
				t.Errorf("%s: after Close: %v", name, err)
			}
			if n := issuer.FeedRequests() - requests; n != 0 {
				t.Errorf("%s: %d requests after Close", name, n)
			}
			// The bubble itself fails if a goroutine is left.
		})
	}
}

// A verifier that was dropped without Close ends its goroutine after an hour.
func TestFollowingDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v, err := verify.New(issuer.Config())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), longToken(issuer, nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Minute)
		// With a goroutine left, the bubble would never end.
	})
}

// Everything at once, for the race detector: tokens, streams, news, outages, reads
// of the state.
func TestFollowingConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: 30 * time.Second})
		c := newConsumer(t, issuer, func(config *verify.Config) {
			config.SnapshotFile = filepath.Join(t.TempDir(), "keys.json")
		})
		token := longToken(issuer, map[string]any{"sid": "00000000-0000-4000-8000-000000000000"})
		session, err := c.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(time.Minute)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				for time.Now().Before(end) {
					if _, err := c.Verify(t.Context(), token); err != nil && !errors.Is(err, verify.ErrRevocationsUnavailable) {
						t.Errorf("a good token: %v", err)
					}
					ctx, cancel := c.SessionContext(t.Context(), session)
					_ = c.Health()
					if i == 0 {
						_ = c.Refresh(t.Context())
					}
					time.Sleep(time.Duration(1+i) * 100 * time.Millisecond)
					if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, verify.ErrRevocationsUnavailable) {
						t.Errorf("a good session: %v", cause)
					}
					cancel()
				}
			})
		}
		all.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				issuer.RevokeSession(fmt.Sprintf("10000000-0000-4000-8000-%012d", i))
				issuer.FailFeed([]verifytest.FeedFailure{verifytest.FeedHealthy, verifytest.FeedDown, verifytest.FeedLowerSeq, verifytest.FeedHealthy}[i%4])
				time.Sleep(3 * time.Second)
			}
		})
		all.Wait()
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(46 * time.Second)
		c.check(t, "afterwards", token, nil)
		if n := c.Health().Revocations.Entries; n < 15 {
			t.Errorf("%d entries", n)
		}
	})
}

// An Observer that knows nothing of revocations works as before, and one that does
// hears of each request.
func TestRevocationsObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		heard := &listener{}
		c := newConsumer(t, issuer, func(config *verify.Config) { config.Observer = heard })
		token := longToken(issuer, nil)
		c.check(t, "at first", token, nil)
		time.Sleep(10 * time.Second)
		issuer.RevokeSession(verifytest.SessionID)
		time.Sleep(10 * time.Second)
		issuer.FailFeed(verifytest.FeedOtherIssuer)
		synctest.Wait()
		want := []verify.RevocationsAnswer{
			{Result: "ok", Age: 100 * time.Millisecond},
			{Result: "ok", Entries: 1},
			{Result: "issuer", Entries: 1},
		}
		if len(heard.answers) != len(want) {
			t.Fatalf("got %+v", heard.answers)
		}
		for i, got := range heard.answers {
			if got.Result != want[i].Result || got.Entries != want[i].Entries || got.Age < 100*time.Millisecond {
				t.Errorf("got %+v, want %+v", got, want[i])
			}
			if i > 0 && (got.Duration < 8*time.Second || got.Age < got.Duration) {
				t.Errorf("request %d took %v, and the age is %v", i, got.Duration, got.Age)
			}
		}
		plain := newConsumer(t, issuer, func(config *verify.Config) { config.Observer = &history{} })
		plain.check(t, "with a plain observer", token, verify.ErrRevocationsUnavailable)
	})
}

// A listener is an Observer that keeps what it hears of the feed.
type listener struct {
	history

	mu      sync.Mutex
	answers []verify.RevocationsAnswer
}

func (l *listener) RevocationsAnswered(answer verify.RevocationsAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, answer)
}
