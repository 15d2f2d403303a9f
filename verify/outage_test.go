package verify_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// A verifier that nobody uses stops asking, and asks before it uses its old
// keys again.
func TestSourceRests(t *testing.T) {
	t.Parallel()
	s, next := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{MaxStale: 48 * time.Hour})
		check(t, v, s, nil)
		time.Sleep(3 * time.Hour)
		rested := p.requests.Load()
		if !v.Health().NextRefresh.IsZero() {
			t.Error("it goes on refreshing for nobody")
		}
		time.Sleep(20 * time.Hour)
		if n := p.requests.Load(); n != rested {
			t.Errorf("got %d requests while it rested", n-rested)
		}
		p.set(reply(200, publish(t, next)))
		check(t, v, s, verify.ErrUnknownKey) // removed meanwhile
		check(t, v, next, nil)
		if v.Health().NextRefresh.IsZero() {
			t.Error("it did not wake up")
		}
	})
}

// The outage that a verifier knew of before it rested may be over.
func TestSourceRestsInAnOutage(t *testing.T) {
	t.Parallel()
	s, next := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{MaxStale: 48 * time.Hour})
		check(t, v, s, nil)
		p.set(refuse)
		time.Sleep(3 * time.Hour)
		if !v.Health().NextRefresh.IsZero() {
			t.Error("it goes on trying for nobody")
		}
		p.set(reply(200, publish(t, next)))
		check(t, v, s, verify.ErrUnknownKey)
	})
}

// The same, but the issuer is down when it wakes up.
func TestSourceRestsAndWakesInAnOutage(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{MaxStale: 48 * time.Hour})
		check(t, v, s, nil)
		time.Sleep(3 * time.Hour)
		p.set(hang)
		start := time.Now()
		check(t, v, s, nil)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("the first caller waited %v, want 2 s for a fresh set", waited)
		}
		time.Sleep(5 * time.Second)
		for range 100 {
			start := time.Now()
			check(t, v, s, nil)
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("a caller waited %v though the outage is known", waited)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestSourceSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	s, unknown := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	p := &publisher{}
	p.set(reply(200, publish(t, s), "Cache-Control", "max-age=600"))
	synctest.Test(t, func(t *testing.T) {
		v := newFetching(t, p, verify.Config{})
		check(t, v, s, nil)
		p.set(refuse)
		time.Sleep(time.Minute)
		check(t, v, unknown, verify.ErrKeysUnavailable) // fresh, but it may have been published since
		time.Sleep(10 * time.Minute)
		check(t, v, s, nil)
		check(t, v, unknown, verify.ErrKeysUnavailable)
		time.Sleep(58*time.Minute + 59*time.Second)
		check(t, v, s, nil) // one second before MaxStale
		time.Sleep(time.Second)
		check(t, v, s, verify.ErrKeysUnavailable)
		p.set(reply(200, publish(t, s)))
		time.Sleep(36 * time.Second) // the longest that the timer waits after a failure
		check(t, v, s, nil)
	})
}

// It heals by itself, fast while it has never had keys, and never asks more
// than once in 30 s once it has.
func TestSourceRetries(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for name, tc := range map[string]struct {
		warm bool
		want []int // seconds between attempts
	}{
		"cold": {false, []int{1, 2, 4, 8, 16, 30, 30, 30}},
		"warm": {true, []int{30, 30, 30, 30}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{}
			p.set(reply(200, publish(t, s)))
			synctest.Test(t, func(t *testing.T) {
				v := newFetching(t, p, verify.Config{})
				var attempts []time.Time
				fail := func(*http.Request) (*http.Response, error) {
					attempts = append(attempts, time.Now())
					return nil, io.ErrUnexpectedEOF
				}
				if tc.warm {
					check(t, v, s, nil)
				}
				p.set(fail)
				if !tc.warm {
					check(t, v, s, verify.ErrKeysUnavailable)
				}
				time.Sleep(20 * time.Minute)
				p.set(reply(200, publish(t, s)))
				time.Sleep(37 * time.Second)
				if got := v.Health().State; got != verify.Fresh {
					t.Errorf("37 s after the end of the outage the keys are %v", got)
				}
				for i, seconds := range tc.want {
					got, want := attempts[i+1].Sub(attempts[i]), time.Duration(seconds)*time.Second
					if got < want || got > want*6/5 {
						t.Errorf("attempt %d came after %v, want %v and up to 20 %% more", i+2, got, want)
					}
				}
			})
		})
	}
}

// Verifiers that start in one instant of an outage, as after a power failure,
// and are asked all the time, must not come back in one.
func TestSourceColdStartsSpread(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	const many = 200
	p := &publisher{}
	p.set(refuse)
	synctest.Test(t, func(t *testing.T) {
		verifiers := make([]*verify.Verifier, many)
		for i := range verifiers {
			verifiers[i] = newFetching(t, p, verify.Config{})
		}
		token := s.token(t, s.header(), payload())
		worst := int64(0)
		for second := range 300 {
			before := p.requests.Load()
			for _, v := range verifiers {
				if _, err := v.Verify(t.Context(), token); !errors.Is(err, verify.ErrKeysUnavailable) {
					t.Fatalf("got %v, want %v", err, verify.ErrKeysUnavailable)
				}
			}
			time.Sleep(time.Second)
			if second >= 150 {
				worst = max(worst, p.requests.Load()-before)
			}
		}
		// Spread evenly, six of them would ask in each second, and in step all.
		if worst > many/5 {
			t.Errorf("%d of %d verifiers ask in one second", worst, many)
		}
	})
}
