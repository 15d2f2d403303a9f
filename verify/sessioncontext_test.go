package verify_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// signIn returns a verifier and a session that it has just verified.
func signIn(t *testing.T, issuer *verifytest.Issuer, config verify.Config, spec verifytest.TokenSpec) (*verify.Verifier, verify.Session) {
	t.Helper()
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	session, err := v.Verify(t.Context(), issuer.Token(spec))
	if err != nil {
		t.Fatal(err)
	}
	return v, session
}

// openMany returns contexts of one session.
func openMany(t *testing.T, v *verify.Verifier, session verify.Session, n int) (contexts []context.Context) {
	t.Helper()
	for range n {
		ctx, cancel := v.SessionContext(t.Context(), session)
		t.Cleanup(cancel)
		contexts = append(contexts, ctx)
	}
	return contexts
}

// checkOpen fails unless ctx is open.
func checkOpen(t *testing.T, when string, ctx context.Context) { //nolint:revive // the message belongs to the test
	t.Helper()
	synctest.Wait()
	if ctx.Err() != nil {
		t.Errorf("%s: the context is done: %v", when, context.Cause(ctx))
	}
}

// checkDone fails unless ctx is done for that reason, and its verifier has
// forgotten it.
func checkDone(t *testing.T, v *verify.Verifier, ctx context.Context, want error) { //nolint:revive // as above
	t.Helper()
	synctest.Wait()
	if got := context.Cause(ctx); !errors.Is(got, want) {
		t.Errorf("the context is done because of %v, want %v", got, want)
	}
	if n := v.OpenSessions(); n != 0 {
		t.Errorf("%d sessions are still open", n)
	}
}

func TestSessionContextExpires(t *testing.T) {
	t.Parallel()
	for _, leeway := range []time.Duration{time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			issuer := verifytest.NewIssuer(t, verifytest.Config{})
			config := issuer.Config()
			config.Leeway = leeway
			v, session := signIn(t, issuer, config, verifytest.TokenSpec{Lifetime: time.Minute})
			ctx, cancel := v.SessionContext(t.Context(), session)
			defer cancel()
			time.Sleep(time.Until(session.ExpiresAt.Add(leeway)) - 1)
			checkOpen(t, "just before the end", ctx)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if !errors.Is(context.Cause(ctx), verify.ErrExpired) || ctx.Err() == nil {
				t.Errorf("at the end: got %v, want %v", context.Cause(ctx), verify.ErrExpired)
			}
			// Also without a call of cancel.
			time.Sleep(2 * time.Second)
			checkDone(t, v, ctx, verify.ErrExpired)
		})
	}
}

// A key that was withdrawn ends its sessions with the next fetch, and no others.
func TestSessionContextKeyWithdrawn(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]func(*verify.Verifier, context.Context) error{
		"by itself":  func(*verify.Verifier, context.Context) error { return nil },
		"by Refresh": (*verify.Verifier).Refresh,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				old := issuer.KeyID()
				v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{Lifetime: 10 * time.Hour})
				ctx, cancel := v.SessionContext(t.Context(), session)
				defer cancel()
				// Much longer than a verifier without any use refreshes.
				time.Sleep(5 * time.Hour)
				checkOpen(t, "before", ctx)
				issuer.Activate(issuer.Publish(jwk.ES256))
				time.Sleep(verifytest.DefaultMaxAge)
				other, err := v.Verify(t.Context(), issuer.Token(verifytest.TokenSpec{Lifetime: time.Hour}))
				if err != nil {
					t.Fatal(err)
				}
				stays, cancel := v.SessionContext(t.Context(), other)
				issuer.Remove(old)
				checkOpen(t, "before the next fetch", ctx)
				if err := refresh(v, t.Context()); err != nil {
					t.Fatal(err)
				}
				if name == "by itself" {
					time.Sleep(verifytest.DefaultMaxAge)
				}
				checkOpen(t, "the session of another key", stays)
				cancel()
				checkDone(t, v, ctx, verify.ErrUnknownKey)
			})
		})
	}
}

// An outage ends no session before its keys are too old to judge it.
func TestSessionContextOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		config := issuer.Config()
		config.MaxStale = time.Hour
		v, session := signIn(t, issuer, config, verifytest.TokenSpec{Lifetime: 10 * time.Hour})
		ctx, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		usable := v.Health().LastSuccess.Add(verifytest.DefaultMaxAge + config.MaxStale)
		issuer.Fail(verifytest.Down)
		time.Sleep(time.Until(usable) - time.Second)
		checkOpen(t, "in the outage", ctx)
		time.Sleep(4 * time.Second)
		checkDone(t, v, ctx, verify.ErrKeysUnavailable)
		if err := context.Cause(ctx); errors.Is(err, verify.ErrUnknownKey) || errors.Is(err, verify.ErrExpired) {
			t.Errorf("the cause %v also says that the session is bad", err)
		}
	})
}

func TestSessionContextRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		var revoked atomic.Bool
		config := issuer.Config()
		config.IsRevoked = func(s verify.Session) bool {
			if len(s.Scopes) != 1 || s.Scopes[0] == "changed" {
				t.Errorf("the hook sees what the caller has made of the session: %v", s.Scopes)
			}
			return revoked.Load() && s.ID == verifytest.SessionID
		}
		v, session := signIn(t, issuer, config, verifytest.TokenSpec{})
		ctx, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		session.Scopes[0] = "changed"
		time.Sleep(10 * time.Minute)
		checkOpen(t, "before", ctx)
		revoked.Store(true)
		time.Sleep(2 * time.Second)
		checkDone(t, v, ctx, verify.ErrRevoked)
		session.Scopes[0] = "again"
		late, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		checkDone(t, v, late, verify.ErrRevoked)
	})
}

// changingSource is a KeySource that has the keys of an issuer, or an error.
type changingSource struct {
	issuer *verifytest.Issuer
	err    atomic.Pointer[error]
	asked  atomic.Int64
}

func (c *changingSource) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	c.asked.Add(1)
	if err := c.err.Load(); err != nil {
		return nil, *err
	}
	for _, key := range c.issuer.Keys() {
		if key.ID() == keyID {
			return key, nil
		}
	}
	return nil, verify.ErrUnknownKey
}

// A KeySource does not tell of a change, so it is asked, once for each key.
func TestSessionContextKeySource(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err, want error
	}{
		{verify.ErrUnknownKey, verify.ErrUnknownKey},
		{errors.New("no connection"), verify.ErrKeysUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			source := &changingSource{issuer: verifytest.NewIssuer(t, verifytest.Config{})}
			config := verify.Config{Issuer: source.issuer.URL(), Audience: source.issuer.Audience(), KeySource: source}
			v, session := signIn(t, source.issuer, config, verifytest.TokenSpec{})
			contexts := openMany(t, v, session, 100)
			source.asked.Store(0)
			time.Sleep(time.Minute)
			if n := source.asked.Load(); n < 1 || n > 60 {
				t.Errorf("100 sessions of one key asked %d times in a minute", n)
			}
			source.err.Store(&test.err)
			time.Sleep(2 * time.Second)
			for _, ctx := range contexts {
				checkDone(t, v, ctx, test.want)
			}
		})
	}
}

// Another key under the same ID did not sign the session's token.
func TestSessionContextKeyReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, other, ring := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256), &keyring{}
		ring.key.Store(s.key)
		v, _ := newCached(t, func(c *verify.Config) { c.KeySource = ring })
		session, err := v.Verify(t.Context(), s.token(t, s.header(), payload()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		time.Sleep(time.Minute)
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		ring.key.Store(other.key.WithID(s.key.ID()))
		time.Sleep(2 * time.Second)
		checkDone(t, v, ctx, verify.ErrSignature)
	})
}

func TestSessionContextOfAnotherVerifier(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{})
	foreign, elsewhere := session, session
	foreign.Issuer += "/"
	elsewhere.Audience = []string{"another-service"}
	for name, test := range map[string]struct {
		session verify.Session
		want    error
	}{
		"zero":             {verify.Session{}, verify.ErrIssuer},
		"another issuer":   {foreign, verify.ErrIssuer},
		"another audience": {elsewhere, verify.ErrAudience},
	} {
		ctx, cancel := v.SessionContext(t.Context(), test.session)
		defer cancel()
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), test.want) {
			t.Errorf("%s: got %v, want %v at once", name, context.Cause(ctx), test.want)
		}
	}
}

// Whoever ends the work first is the cause.
func TestSessionContextCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{})
		ctx, cancel := v.SessionContext(t.Context(), session)
		cancel()
		cancel()
		checkDone(t, v, ctx, context.Canceled)

		errGone := errors.New("the client is gone")
		parent, end := context.WithCancelCause(t.Context())
		ctx, cancel = v.SessionContext(parent, session)
		defer cancel()
		end(errGone)
		checkDone(t, v, ctx, errGone)

		parent, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		ctx, cancel = v.SessionContext(parent, session)
		defer cancel()
		time.Sleep(time.Minute)
		checkDone(t, v, ctx, context.DeadlineExceeded)
	})
}

// Close keeps nobody from judging: the keys stay in use for their time.
func TestSessionContextAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: 24 * time.Hour})
		v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{Lifetime: 10 * time.Hour})
		ctx, cancel := v.SessionContext(t.Context(), session)
		defer cancel()
		v.Close()
		time.Sleep(time.Hour)
		checkOpen(t, "after Close", ctx)
		time.Sleep(time.Hour)
		checkDone(t, v, ctx, verify.ErrKeysUnavailable)
	})
}

// Thousands of streams cost no goroutine each, and end together.
func TestSessionContextCrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const crowd = 10_000
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v, session := signIn(t, issuer, issuer.Config(), verifytest.TokenSpec{Lifetime: 10 * time.Hour})
		before := runtime.NumGoroutine()
		contexts := openMany(t, v, session, crowd)
		if n := v.OpenSessions(); n != crowd {
			t.Fatalf("%d sessions are open, want %d", n, crowd)
		}
		// Other tests run at the same time, but not so many.
		if n := runtime.NumGoroutine() - before; n > crowd/10 {
			t.Errorf("%d contexts have %d goroutines", crowd, n)
		}
		requests := issuer.Requests()
		time.Sleep(5 * time.Minute)
		if n := issuer.Requests() - requests; n > 5 {
			t.Errorf("they caused %d requests to the issuer in 5 minutes", n)
		}
		old := issuer.KeyID()
		issuer.Publish(jwk.ES256)
		issuer.Remove(old)
		if err := v.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, ctx := range contexts {
			if !errors.Is(context.Cause(ctx), verify.ErrUnknownKey) {
				t.Fatalf("a context is done because of %v, want %v", context.Cause(ctx), verify.ErrUnknownKey)
			}
		}
		if n := v.OpenSessions(); n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	})
}

func BenchmarkSessionContext(b *testing.B) {
	issuer := verifytest.NewIssuer(b, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	session, err := v.Verify(b.Context(), issuer.Token(verifytest.TokenSpec{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, cancel := v.SessionContext(b.Context(), session)
		cancel()
	}
}
