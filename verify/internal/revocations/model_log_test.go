package revocations_test

import (
	"fmt"
	"slices"
)

// What may happen to the log.
const (
	nothing uint8 = iota
	// Appends of session A, B, acknowledged or not.
	appendA
	appendB
	appendedA
	appendedB
	// Rollbacks lose the newest entry, or all, and stay in the same incarnation.
	rollbackOne
	rollbackAll
	// Moves are to another incarnation, with all entries or without the oldest.
	moveAll
	moveLoses
	// A replica that remembers session A, which the log has lost, acknowledges its
	// end again without an append.
	againA
)

const (
	sessions = 3 // A, B and C
	maxSteps = 4 // of a history
	none     = -1
)

// A step is what happened to the log at a tick.
type step struct {
	what uint8
	at   int8
}

// A history is all that happened to the log, in order.
type history [maxSteps]step

// histories returns what may happen to the log now.
func (m *model) histories(past history, t int8) []history {
	n, appends, unanswered, rollbacks, moves, distinct := 0, 0, 0, 0, 0, false
	for ; n < maxSteps && past[n].what != nothing; n++ {
		switch past[n].what {
		case appendA, appendB:
			appends++
		case appendedA, appendedB:
			appends++
			unanswered++
		case rollbackOne, rollbackAll:
			rollbacks++
		case moveAll, moveLoses:
			moves++
		default:
		}
		distinct = distinct || past[n].what == appendA || past[n].what == appendedA
	}
	if n == maxSteps {
		return nil
	}
	var may []uint8
	if appends < m.appends {
		may = append(may, appendA)
		if distinct { // the first is A: which is which does not matter
			may = append(may, appendB)
		}
		if unanswered < m.unanswered {
			may = append(may, appendedA)
		}
	}
	if appends > 0 && rollbacks < m.rollbacks {
		may = append(may, rollbackOne, rollbackAll)
	}
	if appends > 0 && moves < m.moves {
		may = append(may, moveAll, moveLoses)
	}
	if distinct && m.weak.remembers {
		may = append(may, againA)
	}
	all := make([]history, 0, len(may))
	for _, what := range may {
		next := past
		next[n] = step{what, t}
		all = append(all, next)
	}
	return all
}

// A version is what the log holds from a tick on.
type version struct {
	log     int8
	seq     int64
	records []record
	// From and until are the ticks in which it is there.
	from, until int8
}

type record struct {
	session int8
	number  int64
	dropAt  int8 // by the log's clock
	acked   int8 // when, or none
}

// held returns what the log held, in order.
func (m *model) held(past history) []version {
	if all, found := m.versions[past]; found {
		return all
	}
	all, gap := []version{{}}, int64(10)
	for _, s := range past {
		if s.what == nothing {
			break
		}
		v := all[len(all)-1]
		all[len(all)-1].until = s.at
		v.from, v.records = s.at, slices.Clone(v.records)
		switch s.what {
		case appendA, appendB, appendedA, appendedB:
			r := record{session: int8(s.what-appendA) % 2, dropAt: s.at + m.log + retention - m.weak.retention, acked: s.at}
			if s.what >= appendedA {
				r.acked = none
			}
			r.number = v.seq + gap
			if m.weak.outOfOrder { // the second number is visible first
				r.number = int64(m.appends-len(v.records)) * gap
			}
			v.seq = max(v.seq, r.number)
			v.records = append(v.records, r)
		case rollbackOne, rollbackAll:
			// It does not get to where it had been: nobody could notice then.
			v.seq, gap = 0, 1
			v.records = v.records[:max(0, len(v.records)-1)]
			if s.what == rollbackAll {
				v.records = nil
			}
			if len(v.records) > 0 {
				v.seq = v.records[len(v.records)-1].number
			}
		case moveAll, moveLoses:
			v.log++
			v.seq, gap = 0, 10
			if s.what == moveLoses {
				v.records = slices.Delete(v.records, 0, min(1, len(v.records)))
			}
			for i := range v.records {
				v.seq += gap
				v.records[i].number = v.seq
			}
		default:
		}
		all = append(all, v)
	}
	all[len(all)-1].until = m.horizon
	m.versions[past] = all
	return all
}

// content returns the number of what a version says.
func (m *model) content(v *version) int32 {
	text := fmt.Sprint(v.log, v.seq, v.records)
	n, found := m.contNum[text]
	if !found {
		n = int32(len(m.contents))
		m.contents, m.contNum[text] = append(m.contents, *v), n
	}
	return n
}
