package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

func TestHealthThroughAnOutage(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p, log := &publisher{}, &logbook{}
	p.set(reply(200, publish(t, s), "Cache-Control", "max-age=600"))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{Logger: log.logger()})
		nothing := verify.Health{
			State:       verify.Unavailable,
			Revocations: verify.RevocationsHealth{Followed: true, State: verify.Unavailable},
		}
		if got := v.Health(); !reflect.DeepEqual(got, nothing) {
			t.Errorf("before the first use: got %+v, want nothing", got)
		}
		start := time.Now()
		check(t, v, s, nil)
		got := v.Health()
		if got.NextRefresh.Before(start.Add(450*time.Second)) || got.NextRefresh.After(start.Add(510*time.Second)) {
			t.Errorf("the next refresh is %v after the first", got.NextRefresh.Sub(start))
		}
		got.NextRefresh = time.Time{}
		want := verify.Health{
			State: verify.Fresh, LastSuccess: start.Round(0), KeyIDs: []string{s.key.ID()},
			Revocations: verify.RevocationsHealth{Followed: true, State: verify.Fresh, MaxAge: 24 * time.Hour, Enabled: true},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		p.set(reply(503, ""))
		for _, tc := range []struct {
			after time.Duration
			state verify.State
			class string
			keys  int
		}{
			{7 * time.Minute, verify.Fresh, "", 1},
			{9 * time.Minute, verify.Fresh, "status", 1},
			{10 * time.Minute, verify.Stale, "status", 1},
			{70*time.Minute - 1, verify.Stale, "status", 1},
			{70 * time.Minute, verify.Unavailable, "status", 0},
		} {
			time.Sleep(time.Until(start.Add(tc.after)))
			check(t, v, s, map[bool]error{true: verify.ErrKeysUnavailable}[tc.keys == 0]) // stay awake
			got := v.Health()
			if got.State != tc.state || got.LastError != tc.class || len(got.KeyIDs) != tc.keys || !got.LastSuccess.Equal(start) {
				t.Errorf("after %v: got %+v, want %v, %q, %d keys", tc.after, got, tc.state, tc.class, tc.keys)
			}
		}
		p.set(reply(200, publish(t, s)))
		time.Sleep(37 * time.Second)
		if got := v.Health(); got.State != verify.Fresh || got.LastError != "" {
			t.Errorf("after the outage: got %+v", got)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("got %d lines of log, want one at the start and one at the end:\n%s", lines, log)
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal([]verify.State{verify.Fresh, verify.Stale, verify.Unavailable})
	if want := `["fresh","stale","unavailable"]`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(refuse)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		err := v.Ready(ctx)
		if !errors.Is(err, verify.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := v.Ready(t.Context()); err != nil {
					t.Error(err)
				}
				check(t, v, s, nil)
			})
		}
		// Longer than a verifier works for nobody: here somebody waits.
		time.Sleep(5 * time.Hour)
		p.set(reply(200, publish(t, s)))
		start = time.Now()
		wg.Wait()
		if waited := time.Since(start); waited > 36*time.Second {
			t.Errorf("ready %v after the issuer, want at most 36 s", waited)
		}
		if err := v.Ready(ctx); err != nil {
			t.Errorf("keys are there, and yet: %v", err)
		}
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	s, next := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		p.set(reply(200, publish(t, next)))
		if err := v.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		check(t, v, next, nil) // without the cooldown
		check(t, v, s, verify.ErrUnknownKey)

		body := publish(t, s)
		p.set(func(r *http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return reply(200, body)(r)
		})
		before := p.requests.Load()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := v.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := p.requests.Load() - before; n != 1 {
			t.Errorf("got %d requests for 100 calls at once, want 1", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.Refresh(ctx); !errors.Is(err, verify.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// After Close no request is made and no goroutine is left: a bubble whose
// goroutines do not end is a panic. The keys serve as long as they may.
func TestClose(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "max-age=600"))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(v.Close)
		}
		wg.Wait()
		check(t, v, s, nil)
		check(t, v, unknown, verify.ErrUnknownKey)
		time.Sleep(10 * time.Minute)
		check(t, v, s, nil)
		check(t, v, unknown, verify.ErrKeysUnavailable)
		time.Sleep(time.Hour - 1)
		check(t, v, s, nil)
		time.Sleep(time.Nanosecond)
		check(t, v, s, verify.ErrKeysUnavailable)
		for name, err := range map[string]error{"Refresh": v.Refresh(t.Context()), "Ready": v.Ready(t.Context())} {
			if !errors.Is(err, verify.ErrKeysUnavailable) {
				t.Errorf("%s: got %v, want %v", name, err, verify.ErrKeysUnavailable)
			}
		}
		if n := p.requests.Load(); n != 1 {
			t.Errorf("got %d requests, want 1", n)
		}
		if health := v.Health(); health.State != verify.Unavailable || !health.NextRefresh.IsZero() {
			t.Errorf("got %+v", health)
		}
	})
}

// Close ends a fetch that is under way, and those who wait for it.
func TestCloseDuringAFetch(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(hang)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { check(t, v, s, verify.ErrKeysUnavailable) })
		wg.Go(func() {
			if err := v.Ready(t.Context()); !errors.Is(err, verify.ErrKeysUnavailable) {
				t.Errorf("Ready: got %v", err)
			}
		})
		wg.Go(func() {
			if err := v.Refresh(t.Context()); !errors.Is(err, verify.ErrKeysUnavailable) {
				t.Errorf("Refresh: got %v", err)
			}
		})
		synctest.Wait()
		v.Close()
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A verifier that was never used has nothing to close.
func TestCloseUnused(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		v.Close()
		check(t, v, s, verify.ErrKeysUnavailable)
	})
}

// With nothing but keys in code, no request is ever made.
func TestKeysAlone(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	set, err := jwk.NewSet(s.key)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		v, err := verify.New(verify.Config{Issuer: testIssuer, Audience: testAudience, Keys: set})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Hour)
		check(t, v, s, nil)
		check(t, v, unknown, verify.ErrUnknownKey)
		if err := errors.Join(v.Ready(t.Context()), v.Refresh(t.Context())); err != nil {
			t.Error(err)
		}
		want := verify.Health{State: verify.Fresh, KeyIDs: []string{s.key.ID()}}
		if got := v.Health(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		v.Close()
		check(t, v, s, nil)
	})
}

// Keys in code serve until the issuer has answered, and never again.
func TestKeysUntilTheFirstAnswer(t *testing.T) {
	t.Parallel()
	seed, current := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	set, err := jwk.NewSet(seed.key)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{}
	p.set(hang)
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{Keys: set})
		if err := v.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		for range 12 { // much longer than MaxStale
			check(t, v, seed, nil)
			check(t, v, current, verify.ErrKeysUnavailable)
			if got := v.Health().State; got != verify.Stale {
				t.Errorf("got %v, want %v", got, verify.Stale)
			}
			time.Sleep(20 * time.Minute)
		}
		p.set(reply(200, publish(t, current)))
		// An attempt that hangs may be under way: it ends after 5 s, and the next
		// one begins 36 s after that at the latest.
		time.Sleep(42 * time.Second)
		check(t, v, current, nil)
		check(t, v, seed, verify.ErrUnknownKey)
		p.set(refuse)
		time.Sleep(70 * time.Minute)
		check(t, v, seed, verify.ErrKeysUnavailable)
		check(t, v, current, verify.ErrKeysUnavailable)
	})
}

func TestKeySourceHealth(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, unavailable{})
	if err := errors.Join(v.Ready(t.Context()), v.Refresh(t.Context())); err != nil {
		t.Error(err)
	}
	if got, want := v.Health(), (verify.Health{State: verify.Fresh}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	v.Close()
}

func TestNewRefusesSources(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	set, err := jwk.NewSet(s.key)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := jwk.NewSet()
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]verify.Config{
		"no keys at all":                 {Keys: empty},
		"keys twice":                     {Keys: set, KeySource: s},
		"snapshot of a KeySource":        {KeySource: s, SnapshotFile: "keys.json"},
		"snapshot of keys in code":       {Keys: set, SnapshotFile: "keys.json"},
		"client for keys in code":        {Keys: set, HTTPClient: http.DefaultClient},
		"MaxStale of keys in code":       {Keys: set, MaxStale: time.Hour},
		"keys in code, and http for URL": {Keys: set, JWKSetURL: "http://sessions.example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config.Issuer, config.Audience = testIssuer, testAudience
			if v, err := verify.New(config); err == nil || v != nil {
				t.Errorf("got %v, %v, want an error", v, err)
			}
		})
	}
}
