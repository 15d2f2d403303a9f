package keys_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

const recovery = 30 * day

// rotatedUntil rotates daily from now on, until a key has been dropped, and returns
// the key as it was in the version before.
func rotatedUntil(t testing.TB, m *keys.Manifest, now time.Time) (next *keys.Manifest, key *keys.Key, at time.Time) {
	t.Helper()
	for range 100 {
		now = now.Add(day)
		before := m
		m = must(t)(keys.Rotate(m, now))
		if len(m.Dropped) > 0 {
			for _, k := range before.Keys {
				if k.ID() == m.Dropped[0].ID() {
					return m, k, now
				}
			}
		}
	}
	t.Fatal("no key was dropped in 100 days")
	return nil, nil, time.Time{}
}

// A key that was dropped leaves its public half for 30 days, for recovery and for
// nothing else.
func TestDropped(t *testing.T) {
	t.Parallel()
	first, now := installation(t, 1)
	m, old, now := rotatedUntil(t, first, now)
	dropped := m.Dropped[0]
	if dropped.Private != nil || dropped.Signer != "" || !dropped.Public.Equal(old.Public) || !dropped.RemoveAt.Equal(old.RemoveAt) {
		t.Errorf("got %+v, want the public half and the schedule of %+v", dropped, old)
	}
	if old.Private == nil {
		t.Error("dropping the key changed the version before")
	}
	again := parse(t, m.Encode())
	if !bytes.Equal(again.Encode(), m.Encode()) || len(again.Keys) != len(m.Keys) || len(again.Dropped) != 1 || again.Dropped[0].ID() != dropped.ID() {
		t.Errorf("after the file it has %d keys and %d dropped ones", len(again.Keys), len(again.Dropped))
	}
	ring, err := keys.NewRing(again, nil)
	if err != nil {
		t.Fatal(err)
	}
	end := dropped.RemoveAt.Add(recovery)
	for when := old.PublishAt.Add(-day); when.Before(end.Add(2 * day)); when = when.Add(day / 2) {
		if again.PublishedKey(dropped.ID(), when) != nil || again.PublishedAt(when).Key(dropped.ID()) != nil ||
			bytes.Contains(ring.JWKSet(when).Body, []byte(dropped.ID())) {
			t.Fatalf("%s: it is published", when)
		}
		if k := again.CurrentAt(when); k != nil && k.ID() == dropped.ID() {
			t.Fatalf("%s: it signs", when)
		}
	}
	for _, test := range []struct {
		at   time.Time
		want bool
	}{
		{old.PublishAt.Add(-time.Second), false}, {old.PublishAt, true}, {now, true}, {end.Add(-time.Second), true}, {end, false},
	} {
		for name, version := range map[string]*keys.Manifest{"dropped": again, "still among the keys": first} {
			got := version.RecoveryKey(dropped.ID(), test.at)
			if (got != nil) != test.want || got != nil && !got.Equal(old.Public) {
				t.Errorf("%s at %s: recovery key %v, want it: %v", name, test.at, got, test.want)
			}
		}
	}
	if again.RecoveryKey("other", now) != nil {
		t.Error("there is a key of another ID")
	}
	// In the end it is forgotten.
	for now = now.Add(day); now.Before(end); now = now.Add(day) {
		m = must(t)(keys.Rotate(m, now))
		if m.RecoveryKey(dropped.ID(), now) == nil {
			t.Fatalf("%s: it is forgotten, want it until %s", now, end)
		}
	}
	if m = must(t)(keys.Rotate(m, end)); bytes.Contains(m.Encode(), []byte(dropped.ID())) {
		t.Error("it is still in the manifest after 30 days")
	}
}

// A revoked key is not kept, and neither is one that is revoked after it was dropped.
func TestDroppedRevoked(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	id := m.CurrentAt(now).ID()
	revoked := must(t)(keys.Revoke(m, now, id))
	if revoked.RecoveryKey(id, now) != nil {
		t.Error("a revoked key recovers")
	}
	removed := revoked.Keys[slices.IndexFunc(revoked.Keys, func(k *keys.Key) bool { return k.ID() == id })].RemoveAt
	if rotated := must(t)(keys.Rotate(revoked, removed)); rotated.RecoveryKey(id, removed) != nil || bytes.Contains(rotated.Encode(), []byte(id)) {
		t.Error("a revoked key is kept after it was dropped")
	}
	m, old, now := rotatedUntil(t, m, now)
	version := m.Version
	if m = must(t)(keys.Revoke(m, now, old.ID())); m.Version != version+1 || len(m.Dropped) != 0 || m.RecoveryKey(old.ID(), now) != nil {
		t.Errorf("version %d has %d dropped keys after the key was revoked, want none", m.Version, len(m.Dropped))
	}
}

// No command brings a dropped key back, under its ID or another.
func TestDroppedStays(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 1)
	m, old, now := rotatedUntil(t, m, now)
	const want = "does not come back; use a new key"
	for name, change := range map[string]func() (*keys.Manifest, error){
		"import": func() (*keys.Manifest, error) { return keys.Import(m, now, now.Add(day), old.Public) },
		"import under another ID": func() (*keys.Manifest, error) {
			return keys.Import(m, now, now.Add(day), old.Public.WithID("other"))
		},
		"import of another key under its ID": func() (*keys.Manifest, error) {
			return keys.Import(m, now, now.Add(day), newPrivate(t).Public().WithID(old.ID()))
		},
		"add": func() (*keys.Manifest, error) {
			return keys.Add(m, now, &keys.Key{Public: old.Public, Signer: "pkcs11:object=1"})
		},
	} {
		if _, err := change(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if _, err := keys.Activate(m, now, old.ID()); err == nil {
		t.Error("activate: no error")
	}
}

// What a hand may do to the file is refused: by itself, or as a step.
func TestDroppedRefused(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 1)
	m, old, now := rotatedUntil(t, m, now)
	for name, test := range map[string]struct {
		change func(next *keys.Manifest)
		want   string // part of the problem, empty: none
	}{
		"nothing":   {func(*keys.Manifest) {}, ""},
		"forgotten": {func(next *keys.Manifest) { next.Dropped = nil }, ""},
		"among the keys, too": {func(next *keys.Manifest) {
			k := *next.Dropped[0]
			next.Keys = append(next.Keys, &k)
		}, "there are two keys with this kid"},
		"among the keys again": {func(next *keys.Manifest) { next.Keys, next.Dropped = append(next.Keys, next.Dropped[0]), nil }, "revived"},
		"published again": {func(next *keys.Manifest) {
			next.Dropped[0].RemoveAt = now.Add(day)
			next.Keys, next.Dropped = append(next.Keys, next.Dropped[0]), nil
		}, "revived"},
		"imported under another ID": {func(next *keys.Manifest) {
			next.Dropped = nil
			next.Keys = append(next.Keys, &keys.Key{Public: old.Public.WithID("other"), Imported: true, PublishAt: now, RemoveAt: now.Add(day)})
		}, "revived"},
		"stays longer":          {func(next *keys.Manifest) { next.Dropped[0].RemoveAt = next.CreatedAt }, "revived"},
		"with its private part": {func(next *keys.Manifest) { next.Dropped[0].Private = old.Private }, "it is dropped, so it must"},
		"in a device":           {func(next *keys.Manifest) { next.Dropped[0].Signer = "pkcs11:object=1" }, "it is dropped, so it must"},
		"not removed yet":       {func(next *keys.Manifest) { next.Dropped[0].RemoveAt = next.CreatedAt.Add(time.Second) }, "it is dropped, so it must"},
		"revoked":               {func(next *keys.Manifest) { next.Dropped[0].RevokedAt = old.SignUntil }, "it is dropped, so it must"},
		"without a key":         {func(next *keys.Manifest) { next.Dropped[0].Public = nil }, "dropped key number 1: jwk, the public key, is missing"},
		"nil":                   {func(next *keys.Manifest) { next.Dropped[0] = nil }, "dropped key number 1: jwk, the public key, is missing"},
		"dropped before it was removed": {func(next *keys.Manifest) {
			k := *next.Keys[0]
			k.Private, k.RemoveAt = nil, next.CreatedAt
			next.Keys, next.Dropped = next.Keys[1:], append(next.Dropped, &k)
		}, "dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := m.Clone()
			next.Version++
			next.CreatedAt = now.Add(time.Hour)
			test.change(next)
			var found []string
			for _, f := range keys.Check(m, next, next.CreatedAt) {
				if !f.Warning {
					found = append(found, f.Rule+": "+f.Message)
				}
			}
			if got := strings.Join(found, "\n"); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A revoked key does not come back among the dropped ones: neither with its revocation
// taken away, nor with the content of a version in which it was not revoked.
func TestDroppedRevokedStays(t *testing.T) {
	t.Parallel()
	installed, now := installation(t, 45)
	id := installed.CurrentAt(now).ID()
	revoked := must(t)(keys.Revoke(installed, now, id))
	key := *revoked.Keys[slices.IndexFunc(revoked.Keys, func(k *keys.Key) bool { return k.ID() == id })]
	key.Private, key.RevokedAt = nil, time.Time{}
	dropped, old, later := rotatedUntil(t, installed, now)
	for name, test := range map[string]struct {
		before *keys.Manifest
		at     time.Time
		key    *keys.Key
		want   string
	}{
		"revoked, then removed":      {revoked, key.RemoveAt, &key, "revoked"},
		"revoked after it was there": {must(t)(keys.Revoke(dropped, later, old.ID())), later, dropped.Dropped[0], "revived"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := must(t)(keys.Rotate(test.before, test.at)).Clone()
			next.Version, next.CreatedAt = test.before.Version+1, test.at
			if v := keys.Check(test.before, next, test.at); v.Err() != nil {
				t.Fatalf("without the key: %v", v)
			}
			next.Dropped = append(next.Dropped, test.key)
			v := keys.Check(test.before, next, test.at)
			if !slices.ContainsFunc(v, func(f keys.Finding) bool { return f.Rule == test.want && f.KeyID == test.key.ID() && !f.Warning }) {
				t.Errorf("got %v, want that it breaks the rule %s", v, test.want)
			}
		})
	}
}

// However fast keys are rotated, the manifest stays within its bounds: keys that were
// dropped first make room.
func TestDroppedIsBounded(t *testing.T) {
	t.Parallel()
	source := newPool(t)
	p := keys.Policy{
		Algorithm: jwk.EdDSA, Propagation: time.Minute, Cache: time.Minute, Skew: time.Second, MaxLifetime: time.Minute,
		Lease: 10 * time.Minute, RotationPeriod: 10 * time.Minute,
	}
	now := at(t, "2026-11-23T02:00:00Z")
	m := initial(t, p, now, true)
	for range 60 {
		now = now.Add(time.Minute * 4)
		next, err := keys.RotateWith(m, now, source.generate)
		if err != nil {
			t.Fatal(err)
		}
		m = next
	}
	if len(m.Dropped) < 10 {
		t.Fatalf("%d keys were dropped in four hours, want more", len(m.Dropped))
	}
	newest := m.Dropped[len(m.Dropped)-1].ID()
	// As many imported keys as fit, without those that were dropped.
	var foreign []*jwk.Key
	for len(m.Keys)+len(foreign) < 62 {
		foreign = append(foreign, newPrivate(t).Public())
	}
	m = must(t)(keys.Import(m, now, now.Add(day), foreign...))
	if n := len(m.Keys) + len(m.Dropped); n != 64 || len(m.Dropped) != 2 || m.Dropped[1].ID() != newest {
		t.Errorf("%d keys, %d of them dropped, want 64 and the 2 that were dropped last", n, len(m.Dropped))
	}
}
