package revocations_test

import (
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// The model is a small world in which everything that may happen does happen, in
// every order: a log, replicas that read it and consumers that ask the replicas.
// The consumer is the real one, [revocations.Knowledge]. The log and the replicas
// are a few lines that mirror packages revocations and feed of the issuer, whose
// own tests hold them to what is assumed here.
//
// Consumers change nothing for the others, so one is followed: whatever can
// happen to one of any number happens to it. Replicas do not depend on each other
// either. All that a replica knows is what the log held when its last complete
// read began. If it lags, is cut off or reads slowly, that was long ago; if it
// was restarted, there is no read, and it does not answer. So a replica that
// answers is an instant of the log's past. The consumer may be answered from any
// of these, each time: that covers two replicas and any number.
//
// An answer that is delayed, lost, replayed or kept by a cache is one that was
// written at any instant of the past, for this request or another. It may also
// begin after another position than was asked for, as if a proxy had rewritten
// the query, as long as it says so.
//
// Sessions A and B may be ended, repeatedly while appends are left. C never is.
// If an append is not acknowledged, because the replica or its caller died first,
// nothing is promised. If it is acknowledged later than at once, less is promised.
// What the log loses is not promised any more, but is not revived either.
const (
	maxAge   = 2 // ticks of a second
	lifetime = 2 // of a token, at most
	leeway   = 1 // of a consumer, at most
	skew     = 1 // between any two clocks, at most
	// It is the sum that the Retention of the issuer's log is.
	retention = lifetime + leeway + 2*skew
)

// A world is what holds throughout a search.
type world struct {
	horizon    int8 // the last tick; from then on, links are good
	appends    int
	more       int // appends in the full form
	unanswered int // appends that are not acknowledged
	// How often the log is rolled back, or moves to another incarnation.
	rollbacks, moves int
	upgrade          int8 // until when there are replicas without the log; -1: there are none
	expiring         bool // tokens and entries expire within the horizon

	// The consumer: ticks that its machine may be suspended, changes of its wall
	// clock, restarts, with a snapshot or without.
	suspensions, steps  int8
	restarts, snapshots bool
	// Slack is how many ticks later than promised it may accept a session.
	slack int8

	// By how much each clock is ahead; the consumer's wall clock, at first.
	issuer, log, wall int8

	weak weakness
}

// A weakness is a rule that is broken, by a tick where it has a number.
type weakness struct {
	// Rules of the consumer, which does not see what they look at.
	ageFromAnswer, ageIgnored, nonceIgnored, afterIgnored, logIgnored, lowerSeqIgnored bool
	forgetsAtOtherLog, forgetsAtLowerSeq, forgetsWhatIsNotThere, disabledRefreshes     bool
	onlyMonotonic, onlyWall, snapshotsAreYoung                                         bool
	forgetsEarly, ageLimit                                                             int64
	// Rules of replicas.
	ageFromEnd, answersUnread, acknowledgesUnread, answersOld, remembers bool
	// Rules of the log.
	outOfOrder, losesAcknowledged bool
	retention                     int8
}

// worlds are small enough for a search of all that may happen in each.
//
// In the one with slack, the wall clock is set back after the machine was
// suspended, or meanwhile, and no request has succeeded since. Then neither clock
// shows how much time has passed, and the bound is late by what the clock was
// set back.
func worlds() map[string]world {
	return map[string]world{
		"links":               {horizon: 5, appends: 2, more: 1, upgrade: -1, restarts: true},
		"unanswered":          {horizon: 4, appends: 2, more: 1, upgrade: -1, unanswered: 1},
		"suspended":           {horizon: 5, appends: 1, upgrade: -1, suspensions: 4},
		"clock":               {horizon: 4, appends: 1, upgrade: -1, steps: 2},
		"suspended and clock": {horizon: 4, appends: 1, upgrade: -1, steps: 1, suspensions: 3, slack: skew},
		"snapshot":            {horizon: 3, appends: 1, upgrade: -1, steps: 1, restarts: true, snapshots: true},
		"rollback":            {horizon: 3, appends: 2, upgrade: -1, rollbacks: 1},
		"move":                {horizon: 3, appends: 2, upgrade: -1, moves: 1},
		"upgrade":             {horizon: 5, appends: 1, more: 1, upgrade: 3, restarts: true},
		"expiry":              {horizon: 4, appends: 1, upgrade: -1, steps: 1, restarts: true, expiring: true},
		"together":            {horizon: 1, appends: 1, more: 1, upgrade: 1, moves: 1, steps: 1, restarts: true},
	}
}

// TestModel looks for a session that is accepted more than the maximal age after
// its end was acknowledged, one that is refused and was not ended, one that lives
// again, and a consumer that does not recover.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, w := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if needs.Exhaustive() {
				w.horizon += 2
				w.appends += w.more
			}
			if violation := search(t, w); violation != "" {
				t.Error(violation)
			}
		})
	}
}

// search explores the world for each of the clocks that there may be.
func search(t *testing.T, w world) string {
	t.Helper()
	visited := 0
	for clocks := range 8 {
		w.wall, w.issuer, w.log = int8(clocks&1)*skew, int8(clocks>>1&1)*skew, int8(clocks>>2)*skew
		if clocks > 1 && !w.expiring || clocks > 0 && w.steps == 0 && !w.expiring {
			break // without dates, only changes of clocks matter
		}
		violation, n := newModel(w).explore()
		visited += n
		if violation != "" {
			return violation
		}
	}
	t.Logf("%d moments", visited)
	return ""
}

// TestModelWeakened weakens one rule at a time: each time, something goes wrong.
func TestModelWeakened(t *testing.T) {
	t.Parallel()
	const (
		late    = "and is accepted at"
		revived = "lives again"
	)
	for _, tc := range []struct {
		name, world string
		weak        weakness
		want        string
	}{
		{"the age counts from the answer", "links", weakness{ageFromAnswer: true}, late},
		{"the age of an answer is ignored", "links", weakness{ageIgnored: true}, late},
		{"knowledge is used for a tick more", "links", weakness{ageLimit: 1}, late},
		{"copies of other answers are taken", "links", weakness{nonceIgnored: true}, late},
		{"an answer may begin later than asked", "links", weakness{afterIgnored: true}, late},
		{"a complete answer replaces what is known", "links", weakness{forgetsWhatIsNotThere: true}, revived},
		{"another log is not asked from 0", "move", weakness{logIgnored: true}, late},
		{"another log makes forget", "move", weakness{forgetsAtOtherLog: true}, revived},
		{"an earlier state is not asked from 0", "rollback", weakness{lowerSeqIgnored: true}, late},
		{"an earlier state makes forget", "rollback", weakness{forgetsAtLowerSeq: true}, revived},
		{"no log is taken for news", "upgrade", weakness{disabledRefreshes: true}, late},
		{"only the monotonic clock", "suspended", weakness{onlyMonotonic: true}, late},
		{"only the wall clock", "clock", weakness{onlyWall: true}, late},
		{"a snapshot is as old as it says", "snapshot", weakness{snapshotsAreYoung: true}, late},
		{"entries are forgotten a tick early", "expiry", weakness{forgetsEarly: 1}, late},

		{"a replica's age counts from the end of its read", "links", weakness{ageFromEnd: true}, late},
		{"a replica answers before it has read", "links", weakness{answersUnread: true}, late},
		{"a replica does not know what it acknowledged", "links", weakness{acknowledgesUnread: true}, "has acknowledged its end"},
		{"a replica answers however old it is", "links", weakness{answersOld: true}, "does not become fresh again"},
		{"what the log lost counts as written", "move", weakness{remembers: true}, late},

		{"numbers become visible out of order", "links", weakness{outOfOrder: true}, late},
		{"the log loses what it acknowledged", "rollback", weakness{losesAcknowledged: true}, late},
		{"retention is a tick short", "expiry", weakness{retention: 1}, late},
		{"retention without leeway", "expiry", weakness{retention: leeway}, late},
		{"retention without twice the skew", "expiry", weakness{retention: 2 * skew}, late},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := worlds()[tc.world]
			w.weak = tc.weak
			violation := search(t, w)
			if !strings.Contains(violation, tc.want) || violation == "" {
				t.Errorf("got %q, want a violation: %s", violation, tc.want)
			}
			t.Log(violation)
		})
	}
}
