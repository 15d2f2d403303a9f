package scaling_test

import (
	"slices"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// A scenario is what consumers go through.
type scenario struct {
	name   string
	issuer *issuer
	// Consumers see their first token some time in spread after start.
	start  time.Time
	spread time.Duration
	end    time.Time
	// tokens are what each consumer sees. It starts with one of the first kind.
	tokens []tokens
	// windows are the rows of the table.
	windows []window
	// avoidable is what an operator can and should not let happen.
	avoidable bool
}

// tokens of one key are seen one every so often, by each consumer.
type tokens struct {
	keyID string
	every time.Duration
	interval
}

// A window is a stretch of time whose requests are counted.
type window struct {
	label string
	interval
}

const (
	// warmUp is for how long consumers have been there when it begins.
	warmUp = 90 * time.Minute
	// oneCycle is longer than a consumer holds a JWK Set.
	oneCycle = 50 * time.Minute
	seldom   = time.Minute
	often    = 10 * time.Second
)

// scenarios returns all of them. They share the life of one key set.
func scenarios(t testing.TB) []*scenario {
	t.Helper()
	manifests := rotated(t, 45)
	first, second := manifests[0].Keys[0], manifests[0].Keys[1]
	next := manifests[slices.IndexFunc(manifests, func(m *keys.Manifest) bool { return len(m.Keys) > 2 })]
	quiet := epoch().Add(10 * 24 * time.Hour)
	life := newIssuer(t, epoch().Add(60*24*time.Hour), manifests...)

	around := func(name, keyID string, event time.Time, windows ...window) *scenario {
		return &scenario{
			name: name, issuer: life, spread: oneCycle,
			start: event.Add(-warmUp), end: windows[len(windows)-1].until,
			tokens: []tokens{{keyID, seldom, interval{event.Add(-warmUp), event.Add(24 * time.Hour)}}}, windows: windows,
		}
	}
	gone := lastSeen(manifests, first.ID()).RemoveAt
	steady := around("Steady state", first.ID(), quiet, after(quiet, "an hour", 0, time.Hour))
	all := []*scenario{
		steady,
		together(life, quiet, first.ID()),
		around("Rotation: the next key is published", first.ID(), next.CreatedAt,
			after(next.CreatedAt, "the hour after", 0, time.Hour)),
		around("Rotation: it takes over", second.ID(), second.ActivateAt,
			after(second.ActivateAt, "the hour after", 0, time.Hour)),
		around("Rotation: the old key is removed", second.ID(), gone,
			after(gone, "the hour before", -time.Hour, 0),
			after(gone, "the 2 minutes after", 0, 2*time.Minute),
			after(gone, "the hour after that", 2*time.Minute, 62*time.Minute)),
	}
	return append(all, emergencies(t, manifests[0], quiet)...)
}

func after(event time.Time, label string, from, until time.Duration) window {
	return window{label, interval{event.Add(from), event.Add(until)}}
}

// lastSeen returns a key as the last manifest has it that has it.
func lastSeen(manifests []*keys.Manifest, id string) (found *keys.Key) {
	for _, m := range manifests {
		for _, k := range m.Keys {
			if k.ID() == id {
				found = k
			}
		}
	}
	return found
}

// together starts all consumers in the same second.
func together(s *issuer, at time.Time, keyID string) *scenario {
	return &scenario{
		name: "All consumers start in one second", issuer: s, avoidable: true,
		start: at, spread: time.Second, end: at.Add(3 * time.Hour),
		tokens: []tokens{{keyID, seldom, interval{at, at.Add(24 * time.Hour)}}},
		windows: []window{
			after(at, "that second", 0, time.Second),
			after(at, "the hour after", time.Second, time.Hour),
			after(at, "the hours after that", time.Hour, 3*time.Hour),
		},
	}
}

// emergencies are what nobody plans.
func emergencies(t testing.TB, m *keys.Manifest, at time.Time) []*scenario {
	t.Helper()
	end := at.Add(24 * time.Hour)
	current := m.CurrentAt(at).ID()
	calm := newIssuer(t, end, m)
	down := func(name string, length time.Duration, windows ...window) *scenario {
		s := *calm
		s.down = interval{at, at.Add(length)}
		return &scenario{
			name: name, issuer: &s, start: at.Add(-warmUp), spread: oneCycle, end: windows[len(windows)-1].until,
			tokens: []tokens{
				{current, seldom, interval{at.Add(-warmUp), end}},
				{current, often, interval{at, end}},
			}, windows: windows,
		}
	}
	cold := down("All start in one second, in an outage of 10 minutes, and see a token a second", 10*time.Minute,
		after(at, "the outage", 0, 10*time.Minute),
		after(at, "the minute after", 10*time.Minute, 11*time.Minute),
		after(at, "the hour after that", 11*time.Minute, 71*time.Minute))
	cold.start, cold.spread, cold.avoidable = at, time.Second, true
	// Consumers with much to do are the ones that keep step.
	cold.tokens[1] = tokens{current, time.Second, interval{at, at.Add(11 * time.Minute)}}
	return []*scenario{
		revocation(t, m, at), stranger(t, m, at),
		down("Outage of 10 minutes", 10*time.Minute,
			after(at, "the outage", 0, 10*time.Minute),
			after(at, "the minute after", 10*time.Minute, 11*time.Minute),
			after(at, "the hour after that", 11*time.Minute, 71*time.Minute)),
		down("Outage of 2 hours", 2*time.Hour,
			after(at, "the outage", 0, 2*time.Hour),
			after(at, "the minute after", 120*time.Minute, 121*time.Minute),
			after(at, "the hour after that", 121*time.Minute, 181*time.Minute)),
		cold,
	}
}

// revocation takes the current key out. Its tokens go on being shown to every
// consumer, which is the worst case: customers do not know.
func revocation(t testing.TB, m *keys.Manifest, at time.Time) *scenario {
	t.Helper()
	revoked := m.CurrentAt(at).ID()
	next, err := keys.Revoke(m, at, revoked)
	if err != nil {
		t.Fatal(err)
	}
	end := at.Add(24 * time.Hour)
	return &scenario{
		name: "The current key is revoked, and its tokens keep coming", issuer: newIssuer(t, end, m, next),
		start: at.Add(-warmUp), spread: oneCycle, end: at.Add(90 * time.Minute),
		tokens: []tokens{
			{revoked, seldom, interval{at.Add(-warmUp), end}},
			{revoked, often, interval{at, end}},
		},
		windows: []window{
			after(at, "the hour after", 0, time.Hour),
			after(at, "the half hour after that", time.Hour, 90*time.Minute),
		},
	}
}

// stranger lets a key sign at once that no consumer has seen.
func stranger(t testing.TB, m *keys.Manifest, at time.Time) *scenario {
	t.Helper()
	next, err := keys.Init(m.Policy, at, true)
	if err != nil {
		t.Fatal(err)
	}
	end := at.Add(24 * time.Hour)
	return &scenario{
		name: "A key signs that no consumer knows (`keys init --bootstrap` beside consumers)", avoidable: true,
		issuer: newIssuer(t, end, m, next),
		start:  at.Add(-warmUp), spread: oneCycle, end: at.Add(71 * time.Minute),
		tokens: []tokens{
			{m.CurrentAt(at).ID(), seldom, interval{at.Add(-warmUp), at}},
			{next.CurrentAt(at).ID(), often, interval{at, end}},
		},
		windows: []window{
			after(at, "the minute after", 0, time.Minute),
			after(at, "the hour after that", time.Minute, 61*time.Minute),
		},
	}
}
