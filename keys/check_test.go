package keys_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// successor returns the golden manifest, and the version that follows it
// without any other change at the instant that is returned: the current key
// signs, the next one is published.
func successor(t *testing.T) (old, next *keys.Manifest, now time.Time) {
	t.Helper()
	old = parse(t, golden(t)).Clone()
	now = at(t, "2026-11-24T02:00:00Z")
	next = old.Clone()
	next.Version++
	next.CreatedAt = now
	return old, next, now
}

// added returns a key from RFC 8037, Appendix A.1, with a schedule of now.
func added(next *keys.Manifest, now time.Time) *keys.Key {
	k := *next.Keys[2]
	k.PublishAt = now
	k.ActivateAt = now.Add(next.Policy.Propagation + next.Policy.Cache + next.Policy.Skew)
	k.SignUntil = k.ActivateAt.Add(next.Policy.Lease)
	k.PromisedUntil = k.SignUntil
	k.RemoveAt = k.SignUntil.Add(next.Policy.MaxLifetime + 2*next.Policy.Skew)
	return &k
}

// TestCheck keeps what an operator reads about each violation in a file. Each
// case is safe but for the one change, which is by a second where it can be.
func TestCheck(t *testing.T) {
	t.Parallel()
	const second = time.Second
	type step struct {
		old, next *keys.Manifest
		now       time.Time
	}
	drop := func(m *keys.Manifest, i int) { m.Keys = append(m.Keys[:i:i], m.Keys[i+1:]...) }
	var got strings.Builder
	for _, tc := range []struct {
		name   string
		change func(s *step)
		rules  string // what is found, warnings in brackets
	}{
		{"nothing changed", func(*step) {}, ""},
		{"the same version", func(s *step) { s.next = s.old.Clone() }, ""},
		{"invalid", func(s *step) { s.next.Keys[next].RemoveAt = time.Time{} }, "manifest"},
		{"version went back", func(s *step) { s.next.Version = s.old.Version - 1 }, "version"},
		{"two writers", func(s *step) { s.next.Version = s.old.Version }, "version"},
		{"made before the last one", func(s *step) {
			s.next.CreatedAt = s.old.CreatedAt.Add(-second)
			s.now = s.next.CreatedAt
		}, "created"},
		{"clock ahead by the skew", func(s *step) { s.next.CreatedAt = s.now.Add(30 * second) }, ""},
		{"clock ahead", func(s *step) { s.next.CreatedAt = s.now.Add(31 * second) }, "created"},
		{"published in time", func(s *step) { s.next.CreatedAt = s.now.Add(-5 * time.Minute) }, ""},
		{"published late", func(s *step) { s.next.CreatedAt = s.now.Add(-5*time.Minute - second) }, "created"},
		{"a replica was cut off", func(s *step) {
			s.next.Version++
			s.next.CreatedAt = s.now.Add(-time.Hour)
		}, ""},
		{"standby activated", func(s *step) { s.next.Keys[next].ActivateAt = s.now }, "(standby)"},
		{"activated too early", func(s *step) {
			k := s.next.Keys[next]
			k.ActivateAt = k.PublishAt.Add(3930*second - second)
		}, "rule-1 (standby)"},
		{"activated too early for the old caches", func(s *step) {
			k := s.next.Keys[next]
			s.old.Policy.Cache += time.Hour
			k.ActivateAt = k.PublishAt.Add(3930 * second)
		}, "rule-1 (standby)"},
		{"new key", func(s *step) {
			drop(s.old, next)
			s.next.Keys[next] = added(s.next, s.now)
		}, ""},
		{"new key too early", func(s *step) {
			drop(s.old, next)
			s.next.Keys[next] = added(s.next, s.now)
			s.next.Keys[next].ActivateAt = s.next.Keys[next].ActivateAt.Add(-second)
		}, "rule-1"},
		{"new key, published a minute after it was made", func(s *step) {
			drop(s.old, next)
			s.next.Keys[next] = added(s.next, s.now)
			s.now = s.now.Add(time.Minute)
		}, "rule-1"},
		{"new key, backdated", func(s *step) {
			drop(s.old, next)
			k := added(s.next, s.now)
			k.PublishAt = k.PublishAt.Add(-second)
			s.next.Keys[next] = k
		}, "rule-1"},
		{"new key, in a version that was missed", func(s *step) {
			drop(s.old, next)
			s.next.Keys[next] = added(s.next, s.now.Add(-time.Hour))
			s.next.Version++
		}, ""},
		{"new key, in a version that was missed, too early", func(s *step) {
			drop(s.old, next)
			k := added(s.next, s.old.CreatedAt)
			k.ActivateAt = k.ActivateAt.Add(-second)
			s.next.Keys[next] = k
			s.next.Version++
		}, "rule-1 (standby)"},
		{"new key, exempt", func(s *step) {
			drop(s.old, retired)
			s.next.Keys[retired].PublishAt = s.now
			s.next.Keys[retired].ActivateAt = s.now
		}, "bootstrap"},
		{"removed before its last token", func(s *step) {
			k := s.next.Keys[next]
			k.SignUntil = k.SignUntil.Add(second)
			k.PromisedUntil = k.SignUntil
		}, "rule-2"},
		{"removed before its last token of the old length", func(s *step) {
			s.next.Policy.MaxLifetime -= time.Hour
			k := s.next.Keys[next]
			k.SignUntil = k.SignUntil.Add(second)
			k.PromisedUntil = k.SignUntil
		}, "rule-2"},
		{"removed earlier than was said", func(s *step) {
			s.next.Keys[current].RemoveAt = s.next.Keys[current].RemoveAt.Add(-second)
		}, "rule-3"},
		{"lease cut short", func(s *step) {
			k := s.next.Keys[next]
			k.SignUntil = k.SignUntil.Add(-second)
		}, ""},
		{"promise forgotten", func(s *step) {
			k := s.next.Keys[next]
			k.SignUntil = k.SignUntil.Add(-second)
			k.PromisedUntil = k.SignUntil
		}, "lease"},
		{"renewed", func(s *step) {
			k := s.next.Keys[next]
			k.SignUntil = k.SignUntil.Add(day)
			k.PromisedUntil, k.RemoveAt = k.SignUntil, k.RemoveAt.Add(day)
		}, ""},
		{"renewed at the last moment", func(s *step) {
			k := s.next.Keys[retired]
			s.now = k.RemoveAt.Add(-330 * second)
			s.next.CreatedAt = s.now
			k.SignUntil, k.PromisedUntil, k.RemoveAt = s.now.Add(day), s.now.Add(day), s.now.Add(3*day)
		}, ""},
		{"renewed too late", func(s *step) {
			k := s.next.Keys[retired]
			s.now = k.RemoveAt.Add(-329 * second)
			s.next.CreatedAt = s.now
			k.SignUntil, k.PromisedUntil, k.RemoveAt = s.now.Add(day), s.now.Add(day), s.now.Add(3*day)
		}, "renewal"},
		{"other public key", func(s *step) {
			private, err := keys.GenerateKey(jwk.RS256)
			if err != nil {
				t.Fatal(err)
			}
			s.next.Keys[imported].Public = private.Public().WithID(s.old.Keys[imported].ID())
		}, "changed"},
		{"publication put off", func(s *step) { s.next.Keys[next].PublishAt = s.now }, "changed"},
		{"exempt later", func(s *step) {
			s.old.Keys[retired].Bootstrap = false
		}, "changed"},
		{"private part lost", func(s *step) { s.next.Keys[next].Private = nil }, "changed (standby)"},
		{"private part elsewhere", func(s *step) {
			s.next.Keys[next].Private = nil
			s.next.Keys[next].Signer = "pkcs11:object=next"
		}, "changed"},
		{"private part of a dead key thrown away", func(s *step) { s.next.Keys[revoked].Signer = "" }, ""},
		{"dropped", func(s *step) {
			s.now = s.old.Keys[retired].RemoveAt
			s.next.CreatedAt = s.now
			drop(s.next, retired)
		}, ""},
		{"dropped too early", func(s *step) {
			s.now = s.old.Keys[retired].RemoveAt.Add(-second)
			s.next.CreatedAt = s.now
			drop(s.next, retired)
		}, "dropped"},
		{"revoked key dropped", func(s *step) { drop(s.next, revoked) }, "dropped"},
		{"revocation taken back", func(s *step) { s.next.Keys[revoked].RevokedAt = time.Time{} }, "revoked"},
		{"revocation put off", func(s *step) {
			s.next.Keys[revoked].RevokedAt = s.next.Keys[revoked].RevokedAt.Add(second)
		}, "revoked"},
		{"signing key revoked, standby activated", func(s *step) {
			s.next.Keys[current].RevokedAt = s.now
			s.next.Keys[next].ActivateAt = s.now
		}, "(standby)"},
		{"all that sign revoked", func(s *step) {
			s.next.Keys[current].RevokedAt = s.now
			s.next.Keys[retired].RevokedAt = s.now
		}, "(signing)"},
		{"signing stops", func(s *step) {
			s.next.Keys[current].SignUntil = s.now
			s.next.Keys[retired].SignUntil = s.now.Add(time.Hour)
		}, "signing"},
		{"signing had stopped before", func(s *step) {
			s.now = at(t, "2027-01-01T02:00:00Z")
			s.next.CreatedAt = s.now
		}, "(signing) (standby)"},
		{"first version", func(s *step) {
			s.old, s.next = nil, initial(t, keys.DefaultPolicy(), s.now, false)
		}, "(signing)"},
		{"first version, exempt", func(s *step) {
			s.old, s.next = nil, initial(t, keys.DefaultPolicy(), s.now.Add(second/2), true)
		}, ""},
		{"first version, too early", func(s *step) {
			s.old, s.next = nil, initial(t, keys.DefaultPolicy(), s.now, false)
			s.next.Keys[0].ActivateAt = s.next.Keys[0].ActivateAt.Add(-second)
		}, "rule-1 (signing)"},
		{"first version, published late", func(s *step) {
			s.old, s.next = nil, initial(t, keys.DefaultPolicy(), s.now.Add(-second), false)
		}, "rule-1 (signing)"},
		{"version before not known", func(s *step) { s.old = nil }, ""},
	} {
		s := &step{}
		s.old, s.next, s.now = successor(t)
		tc.change(s)
		verdict := keys.Check(s.old, s.next, s.now)
		checkVerdict(t, tc.name, verdict, tc.rules)
		// New keys have new IDs.
		if s.old != nil {
			fmt.Fprintf(&got, "# %s\n%v\n\n", tc.name, verdict)
		}
		noSecret(t, verdict.String())
	}
	checkGolden(t, "check.golden", got.String())
}

func checkVerdict(t *testing.T, name string, verdict keys.Verdict, want string) {
	t.Helper()
	var rules []string
	safe := true
	for _, f := range verdict {
		if f.Warning {
			rules = append(rules, "("+f.Rule+")")
		} else {
			safe = false
			rules = append(rules, f.Rule)
		}
		if f.Message == "" || f.Fix == "" || f.By < 0 {
			t.Errorf("%s: finding without a message, a fix or sense: %+v", name, f)
		}
	}
	if got := strings.Join(rules, " "); got != want {
		t.Errorf("%s: got %q, want %q:\n%v", name, got, want, verdict)
	}
	if err := verdict.Err(); (err == nil) != safe {
		t.Errorf("%s: got error %v, want safe %v", name, err, safe)
	}
}

const day = 24 * time.Hour

func initial(t testing.TB, p keys.Policy, now time.Time, bootstrap bool) *keys.Manifest {
	t.Helper()
	m, err := keys.Init(p, now, bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
