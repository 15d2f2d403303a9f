package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func mustRing(t testing.TB) *keys.Ring {
	t.Helper()
	ring, err := keys.NewRing(parse(t, golden(t)), openRefusing)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// openRefusing opens signers that refuse to sign.
func openRefusing(string, *jwk.Key) (keys.Signer, error) { return refusing{}, nil }

type refusing struct{}

func (refusing) Sign(context.Context, []byte) ([]byte, error) { return nil, errors.New("device lost") }

// TestSigningKey compares with the schedule at every event of it.
func TestSigningKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The year 2000, when all of the schedule is to come.
		ring := mustRing(t)
		m := ring.Manifest()
		for event := m.NextEvent(time.Time{}); !event.IsZero(); event = m.NextEvent(event) {
			for _, d := range []time.Duration{-time.Second, 0, time.Second} {
				now := event.Add(d)
				want := m.CurrentAt(now)
				got, err := ring.SigningKey(now)
				if want == nil {
					if !errors.Is(err, keys.ErrNoSigningKey) {
						t.Errorf("%v: got %v, want no signing key", now, err)
					}
					continue
				}
				if err != nil || got.Public != want.Public || !got.LatestExpiry.Equal(want.RemoveAt.Add(-m.Policy.Skew)) {
					t.Errorf("%v: got %+v, %v, want key %s", now, got, err, want.ID())
				}
				if got.Public.Algorithm() == jwk.EdDSA {
					if s, err := got.Signer.Sign(t.Context(), []byte("x")); err != nil || !verified(t, got.Public.Public(), []byte("x"), s) {
						t.Errorf("%v: signature does not verify: %v", now, err)
					}
				}
			}
		}
	})
}

func TestNoSigningKeySaysWhy(t *testing.T) {
	t.Parallel()
	alone := func(i int, change func(k *keys.Key)) *keys.Manifest {
		m := parse(t, golden(t)).Clone()
		m.Keys = m.Keys[i : i+1]
		change(m.Keys[0])
		return m
	}
	for _, tc := range []struct {
		name     string
		manifest *keys.Manifest
		at, want string
	}{
		{"before the first", parse(t, golden(t)), "2026-09-24T01:59:59Z", `no key may sign now: key "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8" starts signing at 2026-09-24T02:00:00Z`},
		{"after the last", parse(t, golden(t)), "2026-12-30T02:00:00Z", `the lease of key "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" ended at 2026-12-30T02:00:00Z; rotate the keys`},
		{"revoked", alone(next, func(k *keys.Key) { k.RevokedAt = k.ActivateAt }), "2026-12-24T02:00:00Z", `was revoked at 2026-12-23T02:00:00Z and no other is ready`},
		{"revoked before it began", alone(next, func(k *keys.Key) { k.RevokedAt = k.PublishAt }), "2026-11-24T02:00:00Z", `was revoked at 2026-11-23T02:00:00Z and no other is ready`},
		{"only imported", alone(imported, func(*keys.Key) {}), "2026-11-24T02:00:00Z", "the manifest has no private part"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ring, err := keys.NewRing(tc.manifest, openRefusing)
			if err != nil {
				t.Fatal(err)
			}
			k, err := ring.SigningKey(at(t, tc.at))
			if k != nil || !errors.Is(err, keys.ErrNoSigningKey) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", k, err, tc.want)
			}
		})
	}
}

func TestNewRing(t *testing.T) {
	t.Parallel()
	unlucky := errors.New("no such token")
	hsm := parse(t, golden(t)).Clone()
	hsm.Keys[revoked].RevokedAt = time.Time{}
	for _, tc := range []struct {
		name   string
		change func(m *keys.Manifest)
		open   keys.OpenSigner
		want   string
	}{
		{"invalid", func(m *keys.Manifest) { m.Version = 0 }, openRefusing, "version is 0"},
		{"no support", func(*keys.Manifest) {}, nil, `key "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s": this program has no support for signers of the kind "pkcs11"`},
		{"cannot be opened", func(*keys.Manifest) {}, func(string, *jwk.Key) (keys.Signer, error) { return nil, unlucky }, "no such token"},
		{"lease ended", func(m *keys.Manifest) { m.Keys[revoked].SignUntil = m.Keys[revoked].ActivateAt.Add(time.Second) }, nil, ""},
		{"revoked", func(m *keys.Manifest) { m.Keys[revoked].RevokedAt = m.Keys[revoked].ActivateAt }, nil, ""},
		{"works", func(*keys.Manifest) {}, openRefusing, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := hsm.Clone()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(at(t, "2026-11-23T02:00:00Z")))
				tc.change(m)
				ring, err := keys.NewRing(m, tc.open)
				if tc.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					m.Keys[current].ActivateAt = time.Time{}
					if ring.Manifest().Keys[current].ActivateAt.IsZero() {
						t.Error("changing the manifest changed the ring")
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want an error with %q", err, tc.want)
				}
			})
		})
	}
}

func TestOpenSigner(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	k := m.Keys[revoked]
	k.RevokedAt = time.Time{}
	k.SignUntil = time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	k.PromisedUntil = k.SignUntil
	k.RemoveAt = k.SignUntil.Add(48 * time.Hour)
	m.Keys = m.Keys[revoked : revoked+1]
	calls := 0
	ring, err := keys.NewRing(m, func(uri string, public *jwk.Key) (keys.Signer, error) {
		calls++
		if uri != k.Signer || public != k.Public {
			t.Errorf("opening %q for %s", uri, public.ID())
		}
		return refusing{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	signing, err := ring.SigningKey(k.ActivateAt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signing.Signer.Sign(t.Context(), nil); err == nil || calls != 1 {
		t.Errorf("got error %v after %d calls, want that of the signer after 1", err, calls)
	}
}

// A device that is away does not keep a manifest out: the other keys, and what
// is revoked, do not wait for it. It signs as soon as it is back.
func TestSignerAway(t *testing.T) {
	t.Parallel()
	private, err := keys.GenerateKey(jwk.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		m, err := keys.Init(keys.DefaultPolicy(), now, true, keys.Key{Signer: "pkcs11:object=1", Public: private.Public()})
		if err != nil {
			t.Fatal(err)
		}
		var back atomic.Bool
		var attempts atomic.Int32
		ring, err := keys.NewRing(m, func(string, *jwk.Key) (keys.Signer, error) {
			attempts.Add(1)
			time.Sleep(10 * time.Second) // a device that hangs
			if !back.Load() {
				return nil, fmt.Errorf("%w: no such token", keys.ErrSignerAway)
			}
			return private, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if away := ring.Away(); len(away) != 1 || !strings.Contains(away[0].Error(), private.Public().ID()) {
			t.Errorf("away: got %v, want the key that is", away)
		}
		if ring.JWKSet(now).Body == nil {
			t.Error("its public half is not published")
		}
		key, err := ring.SigningKey(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		// Callers wait no longer than they want to, and ask once together.
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if _, err := key.Signer.Sign(ctx, []byte("x")); !errors.Is(err, keys.ErrSignerAway) {
					t.Errorf("got %v, want %v", err, keys.ErrSignerAway)
				}
			})
		}
		callers.Wait()
		time.Sleep(10 * time.Second)
		if got := attempts.Load(); got != 2 {
			t.Errorf("%d attempts, want the first and one of all callers", got)
		}
		back.Store(true)
		if _, err := key.Signer.Sign(t.Context(), []byte("x")); err != nil {
			t.Errorf("with the device back: %v", err)
		}
		if away := ring.Away(); len(away) > 0 {
			t.Errorf("away: got %v, want none", away)
		}
	})
}

// Away asks for a key that does not sign now.
func TestAwayAsksAgain(t *testing.T) {
	t.Parallel()
	private, err := keys.GenerateKey(jwk.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m, err := keys.Init(keys.DefaultPolicy(), time.Now(), true, keys.Key{Signer: "pkcs11:object=1", Public: private.Public()})
		if err != nil {
			t.Fatal(err)
		}
		var attempts atomic.Int32
		ring, err := keys.NewRing(m, func(string, *jwk.Key) (keys.Signer, error) {
			if attempts.Add(1) < 4 {
				return nil, keys.ErrSignerAway
			}
			return private, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for second := 1; len(ring.Away()) > 0; second++ {
			time.Sleep(time.Second)
			if second > 60 {
				t.Fatal("it is away for ever")
			}
		}
		if got := attempts.Load(); got != 4 {
			t.Errorf("%d attempts, want one every 10 seconds", got)
		}
	})
}

func TestPublishedKey(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	for event := m.NextEvent(time.Time{}); !event.IsZero(); event = m.NextEvent(event) {
		for _, now := range []time.Time{event.Add(-time.Second), event} {
			for _, k := range m.Keys {
				if got, want := m.PublishedKey(k.ID(), now), m.PublishedAt(now).Key(k.ID()); got != want {
					t.Errorf("%v: got %v, want %v", now, got, want)
				}
			}
		}
	}
	if m.PublishedKey("other", m.CreatedAt) != nil {
		t.Error("a key that does not exist is published")
	}
}

func TestJWKSet(t *testing.T) {
	t.Parallel()
	ring := mustRing(t)
	m := ring.Manifest()
	now := m.CreatedAt
	d := ring.JWKSet(now)
	checkGolden(t, "jwks.golden", string(d.Body)+"\n"+d.ETag+"\n")
	set, err := jwk.ParseSet(d.Body)
	if err != nil {
		t.Fatal(err)
	}
	// Our verifiers leave out the imported key: it is for those of the issuer
	// it comes from.
	if set.Len() != 3 || len(set.Skipped()) != 1 || set.Keys()[0].ID() != m.Keys[current].ID() {
		t.Errorf("got %d keys, skipped %v", set.Len(), set.Skipped())
	}
	if bytes.Contains(d.Body, []byte(`"d"`)) {
		t.Error("a private part is published")
	}
	if d := ring.JWKSet(at(t, "2028-01-01T00:00:00Z")); d.Body != nil || d.ETag != "" {
		t.Errorf("when all is over: got %+v", d)
	}
	if again := ring.JWKSet(now); again.ETag != d.ETag {
		t.Error("going back in time gives another document")
	}
}

// TestJWKSetConcurrently asks for both sides of an event concurrently.
func TestJWKSetConcurrently(t *testing.T) {
	t.Parallel()
	ring := mustRing(t)
	event := ring.Manifest().CreatedAt
	before, after := mustRing(t).JWKSet(event.Add(-1)), mustRing(t).JWKSet(event)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 200 {
				now, want := event, after
				if i%2 == 0 {
					now, want = event.Add(-1), before
				}
				if got := ring.JWKSet(now); got.ETag != want.ETag || got.MaxAge != want.MaxAge {
					t.Errorf("got %s, want %s", got.ETag, want.ETag)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestHotPathAllocatesNothing(t *testing.T) {
	ring := mustRing(t)
	now := ring.Manifest().CreatedAt
	m := ring.Manifest()
	id := m.Keys[next].ID()
	ring.JWKSet(now)
	for name, f := range map[string]func(){
		"SigningKey": func() {
			if _, err := ring.SigningKey(now); err != nil {
				t.Fatal(err)
			}
		},
		"PublishedKey": func() { m.PublishedKey(id, now) },
		"JWKSet":       func() { ring.JWKSet(now) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
}

func BenchmarkSigningKey(b *testing.B) {
	ring := mustRing(b)
	now := ring.Manifest().CreatedAt
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.SigningKey(now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishedKey(b *testing.B) {
	m := mustRing(b).Manifest()
	now, id := m.CreatedAt, m.Keys[retired].ID()
	b.ReportAllocs()
	for b.Loop() {
		if m.PublishedKey(id, now) == nil {
			b.Fatal("not published")
		}
	}
}

func BenchmarkJWKSet(b *testing.B) {
	ring := mustRing(b)
	now := ring.Manifest().CreatedAt
	b.ReportAllocs()
	for b.Loop() {
		if ring.JWKSet(now).Body == nil {
			b.Fatal("not published")
		}
	}
}
