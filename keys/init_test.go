package keys_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func TestInit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 3, 0, 0, 1, time.FixedZone("", 3600))
	for _, tc := range []struct {
		name                    string
		bootstrap               bool
		algorithm               jwk.Algorithm
		publish, activate       string
		takeOver, until, remove string
	}{
		{
			"bootstrap", true, jwk.ES256, "2026-11-23T02:00:00Z", "2026-11-23T02:00:00Z",
			"2026-12-23T02:00:00Z", "2026-12-30T02:00:00Z", "2026-12-31T02:01:00Z",
		},
		{
			"beside another issuer", false, jwk.EdDSA, "2026-11-23T02:00:01Z", "2026-11-23T03:05:31Z",
			"2026-12-23T03:05:31Z", "2026-12-30T03:05:31Z", "2026-12-31T03:06:31Z",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := keys.DefaultPolicy()
			p.Algorithm = tc.algorithm
			m, err := keys.Init(p, now, tc.bootstrap)
			if err != nil {
				t.Fatal(err)
			}
			if m.Version != 1 || len(m.Keys) != 2 || m.Policy != p {
				t.Fatalf("got version %d, %d keys, policy %+v", m.Version, len(m.Keys), m.Policy)
			}
			for i, activate := range []string{tc.activate, tc.takeOver} {
				k := m.Keys[i]
				if k.Public.Algorithm() != tc.algorithm || k.Private == nil || k.Bootstrap != (tc.bootstrap && i == 0) || k.Imported {
					t.Errorf("key %d: got %+v", i, k)
				}
				for _, c := range []struct {
					name string
					got  time.Time
					want string
				}{
					{"publish_at", k.PublishAt, tc.publish},
					{"activate_at", k.ActivateAt, activate},
					{"sign_until", k.SignUntil, tc.until},
					{"promised_until", k.PromisedUntil, tc.until},
					{"remove_at", k.RemoveAt, tc.remove},
				} {
					if got := c.got.Format(time.RFC3339Nano); got != c.want {
						t.Errorf("key %d, %s: got %s, want %s", i, c.name, got, c.want)
					}
				}
			}
			parse(t, m.Encode())
		})
	}
}

// TestInitWithoutGap signs from the beginning to the end, on every policy that
// is allowed at all, with the smallest one among them.
func TestInitWithoutGap(t *testing.T) {
	t.Parallel()
	smallest := keys.Policy{
		Algorithm: jwk.ES256, Propagation: time.Second, Cache: time.Minute, MaxLifetime: time.Minute,
		Lease: 2 * time.Second, RotationPeriod: 61 * time.Second,
	}
	largest := keys.Policy{
		Algorithm: jwk.ES256, Propagation: 24 * time.Hour, Cache: 24 * time.Hour, Skew: 5 * time.Minute,
		MaxLifetime: 24 * time.Hour, Lease: 366 * 24 * time.Hour, RotationPeriod: 366 * 24 * time.Hour,
	}
	for _, p := range []keys.Policy{keys.DefaultPolicy(), smallest, largest} {
		for _, bootstrap := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				m, err := keys.Init(p, time.Now(), bootstrap)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Validate(); err != nil {
					t.Error(err)
				}
				begin, end := m.Keys[0].ActivateAt, m.Keys[1].SignUntil
				if want := begin.Add(p.RotationPeriod + p.Lease); !end.Equal(want) {
					t.Errorf("got an end at %v, want %v", end, want)
				}
				for now := begin; now.Before(end); now = m.NextEvent(now) {
					if k := m.CurrentAt(now); k == nil || k.LatestExpiry(p).Before(now.Add(p.MaxLifetime)) {
						t.Errorf("%v: no key for a token of the full lifetime", now)
					}
				}
			})
		}
	}
}

func TestInitRefusesPolicy(t *testing.T) {
	t.Parallel()
	p := keys.DefaultPolicy()
	p.Cache = time.Second
	if m, err := keys.Init(p, time.Now(), true); err == nil || m != nil {
		t.Errorf("got %v, %v", m, err)
	}
}
