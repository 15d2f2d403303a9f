package keys_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// TestStates walks through the golden schedule, event by event: what each key
// is a second before, at and a second after.
func TestStates(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	const second = time.Second
	for _, tc := range []struct {
		at                    string
		before, then          string // retired, current, next, revoked, imported
		currentBefore, during int
	}{
		{"2026-09-24T02:00:00Z", "s s s s s", "c s s s r", -1, retired},
		{"2026-10-24T02:00:00Z", "c s s s r", "c n s n r", retired, retired},
		{"2026-11-01T02:00:00Z", "c n s n r", "r n s c r", retired, revoked},
		{"2026-11-22T02:00:00Z", "r n s c r", "c n s X r", revoked, retired},
		{"2026-11-23T02:00:00Z", "c n s X r", "r c n X r", retired, current},
		{"2026-11-30T02:00:00Z", "r c n X r", "r c n X r", current, current}, // sign_until of the retired key
		{"2026-12-02T02:00:00Z", "r c n X r", "x c n X r", current, current},
		{"2026-12-03T02:00:00Z", "x c n X r", "x c n X r", current, current}, // remove_at of the revoked key
		{"2026-12-23T02:00:00Z", "x c n X r", "x r c X r", current, next},
		{"2026-12-24T02:00:00Z", "x r c X r", "x r c X x", next, next},
		{"2026-12-29T02:00:00Z", "x r c X x", "x r c X x", next, next}, // sign_until of the current key
		{"2026-12-30T02:00:00Z", "x r c X x", "x r r X x", next, -1},
		{"2026-12-31T02:01:00Z", "x r r X x", "x r x X x", -1, -1},
		{"2027-01-01T02:00:00Z", "x r x X x", "x x x X x", -1, -1},
	} {
		t.Run(tc.at, func(t *testing.T) {
			t.Parallel()
			event := at(t, tc.at)
			for _, c := range []struct {
				t       time.Time
				states  string
				current int
			}{
				{event.Add(-second), tc.before, tc.currentBefore},
				{event, tc.then, tc.during},
				{event.Add(second), tc.then, tc.during},
			} {
				if got := states(m, c.t); got != c.states {
					t.Errorf("states at %v: got %s, want %s", c.t, got, c.states)
				}
				var want *keys.Key
				if c.current >= 0 {
					want = m.Keys[c.current]
				}
				if got := m.CurrentAt(c.t); got != want {
					t.Errorf("current key at %v: got %v, want %v", c.t, got, want)
				}
			}
			if got := m.NextEvent(event.Add(-second)); !got.Equal(event) {
				t.Errorf("next event: got %v, want %v", got, event)
			}
		})
	}
}

func states(m *keys.Manifest, t time.Time) string {
	letters := map[keys.State]string{
		keys.Scheduled: "s", keys.Next: "n", keys.Current: "c", keys.Retired: "r", keys.Removed: "x", keys.Revoked: "X",
	}
	all := make([]string, 0, len(m.Keys))
	for _, k := range m.Keys {
		all = append(all, letters[m.StateAt(k, t)])
	}
	return strings.Join(all, " ")
}

func TestStateNames(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(keys.Scheduled, keys.Next, keys.Current, keys.Retired, keys.Removed, keys.Revoked, keys.State(-1))
	if want := "scheduled next current retired removed revoked unknown"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestPublished checks the JWK Set, in its order, and for how long it lasts.
func TestPublished(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	for _, tc := range []struct {
		at        string
		published []int
		maxAge    time.Duration
	}{
		// An imported key enters.
		{"2026-09-24T01:59:59Z", nil, time.Second},
		{"2026-09-24T02:00:00Z", []int{retired, imported}, time.Hour},
		// Keys of ours enter.
		{"2026-10-24T01:59:59Z", []int{retired, imported}, time.Hour},
		{"2026-10-24T02:00:00Z", []int{retired, current, revoked, imported}, time.Hour},
		{"2026-11-01T02:00:00Z", []int{revoked, current, retired, imported}, time.Hour},
		// One is revoked.
		{"2026-11-22T01:00:00Z", []int{revoked, current, retired, imported}, time.Hour},
		{"2026-11-22T01:00:01Z", []int{revoked, current, retired, imported}, time.Hour - time.Second},
		{"2026-11-22T01:59:59Z", []int{revoked, current, retired, imported}, time.Second},
		{"2026-11-22T01:59:59.6Z", []int{revoked, current, retired, imported}, 0},
		{"2026-11-22T02:00:00Z", []int{retired, current, imported}, time.Hour},
		{"2026-11-23T02:00:00Z", []int{current, next, retired, imported}, time.Hour},
		// One of ours leaves.
		{"2026-12-02T01:59:59Z", []int{current, next, retired, imported}, time.Hour},
		{"2026-12-02T02:00:00Z", []int{current, next, imported}, time.Hour},
		// The imported one leaves.
		{"2026-12-24T01:59:00Z", []int{next, current, imported}, time.Minute},
		{"2026-12-24T02:00:00Z", []int{next, current}, time.Hour},
		{"2026-12-31T02:01:00Z", []int{current}, time.Hour},
		{"2027-01-01T02:00:00Z", nil, time.Hour},
	} {
		t.Run(tc.at, func(t *testing.T) {
			t.Parallel()
			now := at(t, tc.at)
			want := []string{}
			for _, i := range tc.published {
				want = append(want, m.Keys[i].ID())
			}
			got := []string{}
			for _, k := range m.PublishedAt(now).Keys() {
				got = append(got, k.ID())
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("published: got %q, want %q", got, want)
			}
			for i, k := range m.Keys {
				published := m.PublishedKey(k.ID(), now)
				if want := strings.Contains(strings.Join(want, " "), k.ID()); (published != nil) != want {
					t.Errorf("key %d: got published %v, want %v", i, published != nil, want)
				}
			}
			if got := m.MaxAge(now); got != tc.maxAge {
				t.Errorf("max-age: got %v, want %v", got, tc.maxAge)
			}
		})
	}
	if m.PublishedKey("other", m.CreatedAt) != nil {
		t.Error("a key that does not exist is published")
	}
}

// TestMaxAgeBeforeBootstrap has a key that may sign as soon as it is published:
// no copy may be without it then.
func TestMaxAgeBeforeBootstrap(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	m.Keys[next].Bootstrap = true
	if got := m.MaxAge(m.Keys[next].PublishAt.Add(-time.Minute)); got != time.Minute {
		t.Errorf("max-age: got %v a minute before", got)
	}
}

// TestKeyWithoutPrivatePart is a key that others have, but this copy does not.
func TestKeyWithoutPrivatePart(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	m.Keys[current].Private = nil
	if got := states(m, m.CreatedAt); got != "c r n X r" {
		t.Errorf("got %s: the key that can sign must be the current one", got)
	}
}

// TestTie activates two keys at the same instant: every replica must select the
// same one.
func TestTie(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	m.Keys[retired].ActivateAt = m.Keys[current].ActivateAt
	want := m.Keys[retired] // its key ID begins with I, the other's with o
	for range 2 {
		if got := m.CurrentAt(m.CreatedAt); got != want {
			t.Errorf("got %s, want %s", got.ID(), want.ID())
		}
		m.Keys[0], m.Keys[1] = m.Keys[1], m.Keys[0]
	}
}

// TestRevokedInAdvance is a key that is never seen.
func TestRevokedInAdvance(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	m.Keys[next].RevokedAt = m.Keys[next].PublishAt
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Second, 40 * 24 * time.Hour} {
		if m.PublishedKey(m.Keys[next].ID(), m.CreatedAt.Add(d)) != nil {
			t.Errorf("published at %v", d)
		}
	}
	if got := m.MaxAge(m.CreatedAt.Add(-time.Second)); got != time.Hour {
		t.Errorf("max-age: got %v, but nothing changes", got)
	}
}

// TestSignsUntil follows leases as long as one takes over from another.
func TestSignsUntil(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	for from, want := range map[string]string{
		"2026-09-24T01:59:59Z": "2026-09-24T01:59:59Z", // none may sign yet
		"2026-09-24T02:00:00Z": "2026-12-30T02:00:00Z",
		"2026-12-30T02:00:00Z": "2026-12-30T02:00:00Z", // none may any more
	} {
		if got := m.SignsUntil(at(t, from)); !got.Equal(at(t, want)) {
			t.Errorf("from %s: got %v, want %s", from, got, want)
		}
	}
}
