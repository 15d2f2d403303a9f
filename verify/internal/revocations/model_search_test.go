package revocations_test

import (
	"fmt"
	"strings"

	"github.com/customersession/customersession/verify/internal/revocations"
)

// A moment is a state of the world. The order of what happens in one tick is the
// order of moments.
type moment struct {
	t    int8
	past history
	// The consumer: what it knows, when it made the request that is not answered
	// yet, or none, and for how long its machine has been suspended, by how much
	// its wall clock is ahead, and how often that has been set.
	known, asked         int32
	askedMonotonic       int8
	askedWall            int8
	suspended, wall, set int8
	// Told is set when it has heard of a log since it started. Untold is when it
	// asked last before that and heard that there is none.
	told   bool
	untold int8
	// Saved is the snapshot on its disk, or none, and savedUntold what untold was
	// then.
	saved       int32
	savedUntold int8
	// Refused are the sessions that it has refused as ended, and owed those that
	// it must refuse now.
	refused, owed uint8
}

// A model is one search. What the consumer knows and saves and what the log
// holds have numbers, as they are found.
type model struct {
	world
	known    []*revocations.Knowledge
	ends     []uint8 // the sessions that are ended, for each of known
	knownNum map[string]int32
	files    []revocations.Snapshot
	savedNum map[string]int32
	versions map[history][]version
	contents []version
	contNum  map[string]int32
	answers  map[answersKey][]written
	taken    map[takenKey]takenValue
}

func newModel(w world) *model {
	m := &model{
		world: w, knownNum: map[string]int32{}, savedNum: map[string]int32{}, versions: map[history][]version{},
		contNum: map[string]int32{}, answers: map[answersKey][]written{}, taken: map[takenKey]takenValue{},
	}
	m.number(&revocations.Knowledge{})
	return m
}

// start is the world before anything happens: the consumer knows nothing.
func (m *model) start() moment {
	return moment{asked: none, untold: none, saved: none, wall: m.wall}
}

// explore visits every moment that can be reached, and returns the first
// violation with what led to it, "" when there is none, and how many moments
// there are.
func (m *model) explore() (violation string, visited int) {
	first := m.start()
	from := map[moment]moment{first: first}
	queue := []moment{first}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, next := range m.next(s) {
			wrong := m.settle(&next)
			if _, found := from[next]; found && wrong == "" {
				continue
			}
			from[next] = s
			if wrong != "" {
				return wrong + ":\n" + m.trace(from, next), len(from)
			}
			queue = append(queue, next)
		}
	}
	tried := map[recoverKey]bool{}
	for s := range from {
		key := recoverKey{s.past, s.known, s.suspended, s.wall}
		if s.t < m.horizon || tried[key] {
			continue
		}
		tried[key] = true
		if wrong := m.recovers(&s); wrong != "" {
			return wrong + ":\n" + m.trace(from, s), len(from)
		}
	}
	return "", len(from)
}

// next returns what may be after one more thing has happened.
func (m *model) next(s moment) []moment {
	var all []moment
	later := s
	if later.t++; later.t <= m.horizon {
		all = append(all, later)
		if s.suspended < m.suspensions {
			later.suspended++
			all = append(all, later)
		}
	}
	for _, past := range m.histories(s.past, s.t) {
		changed := s
		changed.past = past
		all = append(all, changed)
	}
	if s.set < m.steps {
		adjusted := s
		adjusted.wall = skew - s.wall
		adjusted.set++
		all = append(all, adjusted)
	}
	if m.restarts {
		again := s
		again.known, again.asked, again.told, again.untold, again.refused = 0, none, false, none, 0
		all = append(all, again)
		all = append(all, m.restored(again)...)
	}
	if m.snapshots {
		all = append(all, m.saves(s)...)
	}
	if s.asked == none {
		asked := s
		asked.asked = int32(s.t)
		asked.askedMonotonic, asked.askedWall = m.clocks(&s)
		all = append(all, asked)
	} else {
		all = append(all, m.answered(s)...)
	}
	return all
}

// trace describes how the world came to be so.
func (m *model) trace(from map[moment]moment, s moment) string {
	text := m.describe(s)
	for from[s] != s {
		s = from[s]
		text = m.describe(s) + "\n" + text
	}
	return text
}

func (m *model) describe(s moment) string {
	var text strings.Builder
	fmt.Fprintf(&text, "tick %d: ", s.t)
	for _, p := range s.past {
		if p.what != nothing {
			fmt.Fprintf(&text, "%s at %d, ", [...]string{"", "A", "B", "A unanswered", "B unanswered", "rollback by one", "rollback", "move", "move with loss", "A again, not written"}[p.what], p.at)
		}
	}
	fmt.Fprintf(&text, "consumer knows %s; asked %d, refused %b, suspended %d, wall +%d", m.known[s.known].Fingerprint(), s.asked, s.refused, s.suspended, s.wall)
	return text.String()
}
