package revocations_test

import (
	"fmt"
	"time"
)

// settle looks at a moment and returns what is wrong with it. What does not
// matter any more must not tell moments apart.
func (m *model) settle(s *moment) string {
	k, ends := m.known[s.known], m.ends[s.known]
	now := m.now(s)
	fresh := k.Fresh(now, 0)
	strict := k.Fresh(now, time.Second)
	held := m.held(s.past)
	for i := range int8(sessions) {
		bit := uint8(1) << i
		first, promised := m.promised(s, held, i)
		switch {
		case first == none && ends&bit != 0:
			return fmt.Sprintf("session %c is refused, but was not ended", 'A'+i)
		case first == none:
			continue
		case m.expiring && s.t+s.wall >= first+m.issuer+lifetime+leeway:
			s.refused &^= bit // the token ends
			continue
		case ends&bit == 0 && s.refused&bit != 0:
			return fmt.Sprintf("session %c lives again", 'A'+i)
		case ends&bit == 0 && promised != none && (fresh && s.t > promised+maxAge+m.slack || strict && s.t > promised+1+m.slack):
			return fmt.Sprintf("session %c was ended at %d and is accepted at %d", 'A'+i, promised, s.t)
		}
		s.refused |= ends & bit
	}
	if s.owed&^ends != 0 {
		return "a session is accepted after an answer of the replica that has acknowledged its end"
	}
	s.owed = 0
	return ""
}

// promised returns when a session was ended first, and since when it is promised
// that it is: each none if never.
func (m *model) promised(s *moment, held []version, session int8) (first, since int8) {
	first = none
	for _, p := range s.past {
		if p.what >= appendA && p.what <= appendedB && int8(p.what-appendA)%2 == session {
			first = p.at
			break
		}
	}
	for _, p := range s.past {
		if p.what == againA && session == 0 {
			return first, p.at
		}
	}
	records := held[len(held)-1].records
	if m.weak.losesAcknowledged {
		records = nil
		for i := range held {
			records = append(records, held[i].records...)
		}
	}
	for _, r := range records {
		if r.session == session && r.acked != none {
			return first, max(r.acked, s.untold)
		}
	}
	return first, none
}

type recoverKey struct {
	past            history
	known           int32
	suspended, wall int8
}

// recovers lets links be good from now on, but for one replica, which is cut off
// from the log: the consumer is connected to it as long as it answers.
func (m *model) recovers(s *moment) string {
	held := m.held(s.past)
	latest := &held[len(held)-1]
	for lag := range int8(maxAge + 2) {
		k, good, old := m.known[s.known], false, latest
		for i := range held {
			if held[i].until >= s.t-lag {
				old = &held[i]
				break
			}
		}
		later := *s
		for range maxAge + 4 {
			later.t++
			v, age := latest, int8(0)
			if !good {
				v, age = old, later.t-s.t+lag
			}
			if !good && 2*age > maxAge && !m.weak.answersOld {
				good = true // it answers 503 and closes the connection
				continue
			}
			now := m.now(&later)
			request := k.Request(now, "mine", 0)
			a := written{version: m.content(v), age: age, missing: m.missing(v, later.t), mine: true}
			if request.Log == logName(v.log) && request.After <= v.seq {
				a.after = request.After
			}
			k, _ = m.tell(k, &request, a, now)
		}
		if !k.Fresh(m.now(&later), 0) {
			return "the consumer does not become fresh again"
		}
		for i, r := range latest.records {
			if m.missing(latest, later.t)>>i&1 == 0 && !k.Ends(&subjects[r.session]) {
				return fmt.Sprintf("session %c does not get refused again", 'A'+r.session)
			}
		}
	}
	return ""
}
