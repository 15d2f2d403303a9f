package revocations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// A second model is about "until now": all sessions of a customer, an API key or
// an organization that were issued until an entry is appended. Here a tick is
// half a second, because issued_before is rounded, and the only thing that
// matters is who knows which entry: the replica that creates a session, which
// waits if it must, and the consumer.
const (
	// How many ticks the clock of an issuer may be ahead of the log's, or behind.
	// The margin of issued_before and the rounding cover less than two seconds. A
	// replica warns at one, and measuring takes the time of a read.
	apart        = 3
	untilHorizon = 6
	margin       = 2 // seconds
)

// An untilWorld is what holds throughout a search.
type untilWorld struct {
	// How many ticks clocks are ahead: the issuer's, and the log's at the first
	// entry and at the second, before which it may have been set back.
	issuer int8
	log    [2]int8
	scopes [2]wire.RevocationScope
	weak   untilWeakness
}

// An untilWeakness is a rule that is broken.
type untilWeakness struct {
	margin      int8 // seconds that issued_before lacks
	roundedDown bool
	waits       int8 // ticks that a create waits less
	olderLives  bool // the newest entry of an ID replaces others
	apart       int8 // ticks by which clocks are further apart
	repeats     int8 // ticks too early that an entry counts as one that need not be repeated
}

// An untilMoment is a state of the world.
type untilMoment struct {
	t int8
	// The log: the issued_before of its entries.
	entries      int8
	issuedBefore [2]int8
	// The session: when it was issued, or none, how many entries there were, and
	// of how many of them the replica knew. Covered is set once its end was
	// acknowledged by the entries that there were: another would end no more.
	issuedAt, there, knew int8
	covered               bool
	// The consumer: what it knows, how many entries that is, the one that it heard
	// last, and whether it has refused the session.
	known, heard, last int8
	refused            bool
}

// An untilModel is one search.
type untilModel struct {
	untilWorld
	known   []*revocations.Knowledge
	numbers map[string]int8
	taken   map[hearing]int8
}

// A hearing is an answer to what is known.
type hearing struct {
	known, heard, after int8
	issuedBefore        [2]int8
	reversed            bool
}

func (m *untilModel) number(k *revocations.Knowledge) int8 {
	text := k.Fingerprint()
	n, found := m.numbers[text]
	if !found {
		n = int8(len(m.known))
		m.known, m.numbers[text] = append(m.known, k), n
	}
	return n
}

func (m *untilModel) explore() (violation string, visited int) {
	first := untilMoment{issuedAt: none, last: none, known: m.number(&revocations.Knowledge{})}
	seen, queue := map[untilMoment]bool{first: true}, []untilMoment{first}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, next := range m.next(s) {
			if wrong := m.settle(&next); wrong != "" {
				return fmt.Sprintf("%s: %+v, issuer's clock %+d, log's %+d", wrong, next, m.issuer, m.log), len(seen)
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return "", len(seen)
}

// next returns what may be after one more thing has happened.
func (m *untilModel) next(s untilMoment) []untilMoment {
	var all []untilMoment
	if later := s; s.t < untilHorizon {
		later.t++
		all = append(all, later)
	}
	if appended := s; s.entries < 2 {
		appended.issuedBefore[s.entries] = m.until(s.t + m.log[s.entries])
		appended.entries++
		all = append(all, appended)
	}
	if s.issuedAt == none {
		for knew := range s.entries + 1 {
			if created, ok := m.create(s, knew); ok {
				all = append(all, created)
			}
		}
	}
	if repeated := s; s.issuedAt != none && m.repeats(&s) {
		repeated.covered = true
		all = append(all, repeated)
	}
	for heard := s.heard; heard <= s.entries; heard++ {
		all = append(all, m.hear(s, heard, 0, false), m.hear(s, heard, 0, true), m.hear(s, heard, s.heard, false))
	}
	return all
}

// repeats reports whether all that another entry would end is dead already, so
// that it is acknowledged and not written. The IDs are the same.
func (m *untilModel) repeats(s *untilMoment) bool {
	now := s.t + m.log[max(0, s.entries-1)]
	for i := range s.entries {
		if m.scopes[i] == wire.RevokeCustomer && 2*s.issuedBefore[i]+m.weak.repeats >= now+2*margin {
			return true
		}
	}
	return false
}

// until returns the issued_before of an entry that is appended when the log's
// clock says now. It mirrors revocations.IssuedBefore of the issuer.
func (m *untilModel) until(now int8) int8 {
	seconds := floor(now)
	if now%2 != 0 && !m.weak.roundedDown {
		seconds++
	}
	return seconds + margin - m.weak.margin
}

// floor returns the whole seconds of a number of ticks.
func floor(ticks int8) int8 { return ticks >> 1 }

// create returns what is after a replica has created the session, which knows of
// some entries; ok is false if it must wait.
func (m *untilModel) create(s untilMoment, knew int8) (_ untilMoment, ok bool) {
	clock := s.t + m.issuer
	for _, before := range s.issuedBefore[:knew] {
		if floor(clock+m.weak.waits) < before {
			return s, false
		}
	}
	s.issuedAt, s.there, s.knew = floor(clock), s.entries, knew
	return s, true
}

// hear returns what is after the consumer was told of the first entries, those
// after a number of them.
func (m *untilModel) hear(s untilMoment, heard, after int8, reversed bool) untilMoment {
	key := hearing{s.known, heard, after, s.issuedBefore, reversed}
	known, found := m.taken[key]
	if !found {
		known = m.take(&key)
		m.taken[key] = known
	}
	s.known, s.heard = known, heard
	switch {
	case after == heard:
	case reversed:
		s.last = 0
	default:
		s.last = heard - 1
	}
	return s
}

// take returns what is known after an answer.
func (m *untilModel) take(h *hearing) int8 {
	k := m.known[h.known]
	request := k.Request(instant(0, 0), "nonce", 0)
	answer := &revocations.Answer{Nonce: request.Nonce}
	answer.Issuer, answer.Enabled, answer.Log, answer.MaxAge = issuerURL, true, logName(0), 1000
	answer.Seq, answer.After = int64(h.heard), int64(h.after)
	for i := h.after; i < h.heard; i++ {
		answer.Revoked = append(answer.Revoked, wire.Revocation{
			Scope: m.scopes[i], ID: m.id(i), IssuedBefore: origin + int64(h.issuedBefore[i]), DropAt: origin + 1000,
		})
	}
	if h.reversed {
		slices.Reverse(answer.Revoked)
	}
	next, verdict := k.Take(&request, answer, issuerURL, instant(0, 0))
	if verdict != revocations.Taken {
		panic("an honest answer is refused: " + verdict)
	}
	return m.number(next)
}

func (m *untilModel) id(entry int8) wire.RevocationID {
	h := holder(0)
	named := map[wire.RevocationScope]string{wire.RevokeCustomer: h.CustomerID, wire.RevokeAPIKey: "key"}
	return wire.NewRevocationID(m.scopes[entry], h.OrganizationID, named[m.scopes[entry]])
}

// settle looks at a moment and returns what is wrong with it.
func (m *untilModel) settle(s *untilMoment) string {
	if s.issuedAt == none {
		return ""
	}
	h := holder(0)
	h.ClientID, h.IssuedAt = "key", origin+int64(s.issuedAt)
	subject := h.Subject()
	ended := m.known[s.known].Ends(&subject)
	if m.weak.olderLives && m.scopes[0] == m.scopes[1] && s.last != none {
		ended = s.issuedAt < s.issuedBefore[s.last]
	}
	earlier := slices.ContainsFunc(s.issuedBefore[:s.heard], func(before int8) bool { return s.issuedAt < before })
	switch {
	case s.refused && !ended:
		return "the session lives again"
	case (s.heard > s.there || s.covered && s.heard == s.entries) && !ended:
		return "the session was issued before it was ended, and lives"
	case s.heard <= s.knew && ended:
		return "the session is refused, but the replica that created it knew"
	case ended && !earlier:
		return "the session is refused, but was not issued before"
	case !ended && earlier:
		return "the session was issued before, and lives"
	}
	s.refused = ended
	return ""
}

// searchUntil explores the world for each of the clocks and scopes that there may
// be.
func searchUntil(t *testing.T, weak untilWeakness) string {
	t.Helper()
	visited, distance := 0, apart+weak.apart
	for _, second := range []wire.RevocationScope{wire.RevokeCustomer, wire.RevokeAPIKey, wire.RevokeOrganization} {
		for issuer := -distance; issuer <= distance; issuer++ {
			for setBack := range int8(2*apart + 1) {
				if issuer+setBack > distance {
					continue // the clocks are too far apart then
				}
				m := untilModel{numbers: map[string]int8{}, taken: map[hearing]int8{}}
				m.issuer, m.log, m.weak = issuer, [2]int8{0, -setBack}, weak
				m.scopes = [2]wire.RevocationScope{wire.RevokeCustomer, second}
				violation, n := m.explore()
				visited += n
				if violation != "" {
					return violation
				}
			}
		}
	}
	t.Logf("%d moments", visited)
	return ""
}

func TestModelUntilNow(t *testing.T) {
	t.Parallel()
	if violation := searchUntil(t, untilWeakness{}); violation != "" {
		t.Error(violation)
	}
}

// TestModelUntilNowWeakened weakens one rule at a time: each time, something goes
// wrong.
func TestModelUntilNowWeakened(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		weak untilWeakness
		want string
	}{
		{"issued_before without its two seconds", untilWeakness{margin: 2}, "and lives"},
		{"issued_before with one second", untilWeakness{margin: 1}, "and lives"},
		{"issued_before is rounded down", untilWeakness{roundedDown: true}, "and lives"},
		{"clocks are further apart", untilWeakness{apart: 1}, "and lives"},
		{"an entry is not repeated too early", untilWeakness{repeats: 1}, "and lives"},
		{"a create does not wait", untilWeakness{waits: 100}, "knew"},
		{"a create waits a tick less", untilWeakness{waits: 1}, "knew"},
		{"the newest entry counts", untilWeakness{olderLives: true}, "lives"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			violation := searchUntil(t, tc.weak)
			if !strings.Contains(violation, tc.want) || violation == "" {
				t.Errorf("got %q, want a violation: %s", violation, tc.want)
			}
			t.Log(violation)
		})
	}
}
