package revocations_test

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/customersession/customersession/verify/internal/revocations"
)

const (
	issuerURL = "https://sessions.example.com"
	origin    = 1_900_000_000
)

var subjects = func() (all [sessions]revocations.Subject) {
	for i := range all {
		h := holder(i)
		all[i] = h.Subject()
	}
	return all
}()

func holder(session int) revocations.Holder {
	return revocations.Holder{OrganizationID: "o", SessionID: string(rune('A' + session)), CustomerID: "c"}
}

// number returns the number of what is known, the same for the same.
func (m *model) number(k *revocations.Knowledge) int32 {
	text := k.Fingerprint()
	n, found := m.knownNum[text]
	if !found {
		n = int32(len(m.known))
		m.known, m.knownNum[text] = append(m.known, k), n
		ends := uint8(0)
		for i := range subjects {
			if k.Ends(&subjects[i]) {
				ends |= 1 << i
			}
		}
		m.ends = append(m.ends, ends)
	}
	return n
}

func instant(monotonic, wall int8) revocations.Instant {
	return revocations.Instant{
		Monotonic: time.Duration(monotonic) * time.Second, Wall: time.Unix(origin+int64(wall), 0),
	}
}

// clocks are what the consumer reads.
func (m *model) clocks(s *moment) (monotonic, wall int8) {
	monotonic, wall = s.t-s.suspended, s.t+s.wall
	switch {
	case m.weak.onlyMonotonic:
		wall = monotonic
	case m.weak.onlyWall:
		monotonic = wall
	default:
	}
	return monotonic, wall
}

func (m *model) now(s *moment) revocations.Instant { return instant(m.clocks(s)) }

// saves returns what is after a snapshot was written. One that is too old from
// the start makes no difference.
func (m *model) saves(s moment) []moment {
	now, k := m.now(&s), m.known[s.known]
	snapshot, _ := k.Snapshot(now)
	if !k.Fresh(now, 0) {
		return nil
	}
	slices.SortFunc(snapshot.Revoked, func(a, b revocations.SnapshotEntry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	text := fmt.Sprint(snapshot)
	n, found := m.savedNum[text]
	if !found {
		n = int32(len(m.files))
		m.files, m.savedNum[text] = append(m.files, snapshot), n
	}
	s.saved, s.savedUntold = n, s.untold
	return []moment{s}
}

// restored returns what is after a start with a snapshot.
func (m *model) restored(s moment) []moment {
	if s.saved == none {
		return nil
	}
	margin := leeway * time.Second
	if m.weak.snapshotsAreYoung {
		margin = 0
	}
	k, err := m.files[s.saved].Restore(m.now(&s), margin)
	if err != nil {
		return nil // as without one
	}
	s.known, s.untold = m.number(k), s.savedUntold
	return []moment{s}
}

// answered returns what may be after the request has failed or was answered.
func (m *model) answered(s moment) []moment {
	failed := s
	failed.asked = none
	all := []moment{failed}
	for _, a := range m.answersTo(&s) {
		next := failed
		value := m.take(&s, a)
		next.known = value.known
		switch {
		case !value.ok:
		case a.version == none:
			if !s.told {
				next.untold = int8(s.asked)
			}
		default:
			next.told, next.owed = true, a.owed
		}
		all = append(all, next)
	}
	return all
}

type takenKey struct {
	known                 int32
	monotonic, wall       int8 // when it was asked
	nowMonotonic, nowWall int8
	answer                written
}

type takenValue struct {
	known int32
	ok    bool
}

// take returns what is known after an answer.
func (m *model) take(s *moment, a written) takenValue {
	a.owed = 0
	key := takenKey{known: s.known, monotonic: s.askedMonotonic, wall: s.askedWall, answer: a}
	key.nowMonotonic, key.nowWall = m.clocks(s)
	if value, found := m.taken[key]; found {
		return value
	}
	k := m.known[s.known]
	request := k.Request(instant(key.monotonic, key.wall), "mine", 0)
	next, ok := m.tell(k, &request, a, instant(key.nowMonotonic, key.nowWall))
	value := takenValue{m.number(next), ok}
	m.taken[key] = value
	return value
}

// tell gives an answer to the consumer. A rule that is broken is one that does
// not see what it looks at.
func (m *model) tell(k *revocations.Knowledge, r *revocations.Request, written written, now revocations.Instant) (*revocations.Knowledge, bool) {
	a := m.body(written)
	a.Nonce = "other"
	if written.mine || m.weak.nonceIgnored {
		a.Nonce = r.Nonce
	}
	switch {
	case m.weak.ageFromAnswer:
		r.Begun = now
	case m.weak.ageIgnored:
		a.Age = 0
	case m.weak.afterIgnored:
		a.After = min(a.After, r.After)
	case m.weak.logIgnored && a.Enabled && r.Log != "":
		a.Log = r.Log
	case m.weak.lowerSeqIgnored && a.Log == r.Log:
		a.Seq = max(a.Seq, r.After)
	case m.weak.forgetsAtOtherLog && a.Enabled && a.Log != r.Log,
		m.weak.forgetsAtLowerSeq && a.Log == r.Log && a.Seq < r.After,
		m.weak.forgetsWhatIsNotThere && a.Enabled && a.After == 0:
		k = &revocations.Knowledge{}
	case m.weak.disabledRefreshes && !a.Enabled && k.Enabled():
		a.Enabled, a.Log, a.Seq, a.After = true, r.Log, r.After, r.After
	default:
	}
	a.MaxAge += m.weak.ageLimit
	for i := range a.Revoked {
		a.Revoked[i].DropAt -= m.weak.forgetsEarly
	}
	next, verdict := k.Take(r, a, issuerURL, now)
	return next, verdict == revocations.Taken
}
