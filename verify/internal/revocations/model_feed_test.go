package revocations_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// A written is what the feed may say at an instant of the past.
type written struct {
	version int32 // or none: there is no log
	after   int64
	age     int8
	missing uint8 // bits of the records that are dropped
	mine    bool  // it has the nonce of the request
	// owed is the session whose end was acknowledged by the replica that answers.
	owed uint8
}

type answersKey struct {
	past  history
	t     int8
	asked int32
}

// answersTo returns all answers that may arrive.
func (m *model) answersTo(s *moment) []written {
	key := answersKey{s.past, s.t, s.asked}
	if all, found := m.answers[key]; found {
		return all
	}
	held, distinct := m.held(s.past), map[written]bool{}
	for at := int8(0); at <= s.t; at++ {
		mine := int32(at) >= s.asked
		if at <= m.upgrade {
			distinct[written{version: none, mine: mine}] = true
		}
		for i := range held {
			v := &held[i]
			if v.from > at {
				break
			}
			if m.weak.answersUnread {
				distinct[written{version: m.content(&version{log: v.log}), mine: mine}] = true
			}
			// The read began at began. It was complete when the answer was written.
			for began := v.from; began <= min(v.until, at); began++ {
				from := at - began
				if m.weak.ageFromEnd {
					from = 0
				}
				// The copy that looks youngest will do for what is refused.
				if !mine && !m.weak.nonceIgnored && began < at {
					continue
				}
				for age := from; age <= min(at-began, maxAge); age++ {
					m.answer(distinct, s, v, written{version: m.content(v), age: age, missing: m.missing(v, at), mine: mine})
				}
			}
		}
	}
	all := make([]written, 0, len(distinct))
	for a := range distinct {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b written) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	m.answers[key] = all
	return all
}

// missing returns which records have been dropped by a clock that may be the one
// that is most ahead.
func (m *model) missing(v *version, at int8) (bits uint8) {
	for i, r := range v.records {
		if m.expiring && at+skew >= r.dropAt {
			bits |= 1 << i
		}
	}
	return bits
}

// answer adds a with each position after which it may begin, and as the answer of
// the replica that has acknowledged something before the request was made.
func (m *model) answer(all map[written]bool, s *moment, v *version, a written) {
	held := m.held(s.past)
	latest := held[len(held)-1].records
	all[a] = true
	for _, r := range v.records {
		delta := a
		delta.after = r.number
		all[delta] = true
	}
	if len(latest) == 0 || m.expiring || m.rollbacks+m.moves > 0 {
		return
	}
	newest := latest[len(latest)-1]
	if newest.acked != none && int32(newest.acked) < s.asked && (m.weak.acknowledgesUnread || len(v.records) == len(latest)) {
		a.owed = 1 << newest.session
		all[a] = true
	}
}

// body returns what an answer says.
func (m *model) body(a written) *revocations.Answer {
	body := &revocations.Answer{Age: time.Duration(a.age) * time.Second}
	body.Issuer, body.MaxAge = issuerURL, maxAge
	if a.version == none {
		return body
	}
	v := &m.contents[a.version]
	body.Enabled, body.Log, body.Seq, body.After = true, logName(v.log), v.seq, a.after
	for i, r := range v.records {
		if r.number > a.after && a.missing>>i&1 == 0 {
			h := holder(int(r.session))
			dropAt := int64(origin) + int64(r.dropAt)
			if !m.expiring {
				dropAt = origin + 1000
			}
			body.Revoked = append(body.Revoked, wire.Revocation{
				Scope: wire.RevokeSession, ID: wire.NewRevocationID(wire.RevokeSession, h.OrganizationID, h.SessionID), DropAt: dropAt,
			})
		}
	}
	return body
}

func logName(n int8) string { return fmt.Sprint("log ", n) }
