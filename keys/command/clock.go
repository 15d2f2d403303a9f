package command

import (
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
)

// checkClock refuses to change a manifest by a clock that is wrong here, or was
// where the manifest was made. Only checked, the word of the operator, lets a
// step pass that would drop a key whose lease should have been renewed: by the
// manifest alone, a clock that jumped ahead looks like a job that did not run.
func checkClock(m *keys.Manifest, now time.Time, checked bool) error {
	if err := fromFuture(m, now); err != nil {
		return err
	}
	ended, lost := lapsed(m, now)
	if lost == nil || checked {
		return nil
	}
	return fmt.Errorf("by the clock here it is %s, and signing ended %s ago, at %s, because no lease was renewed: key %s would be dropped. "+
		"Either keys rotate did not run for that long, or this clock is wrong. "+
		"Compare date -u with another machine; if it is right, repeat the command with --clock-checked",
		formatTime(now), span(now.Sub(ended)), formatTime(ended), short(m, lost.ID()))
}

// fromFuture returns an error if the manifest was made later than now.
func fromFuture(m *keys.Manifest, now time.Time) error {
	early := m.CreatedAt.Sub(now)
	if early <= m.Policy.Skew {
		return nil
	}
	return fmt.Errorf("version %d was made at %s, which is %s from now: the clock is wrong here (%s), or was wrong there; "+
		"see the runbook about clock trouble, and change nothing before that",
		m.Version, formatTime(m.CreatedAt), span(early), formatTime(now))
}

// lapsed returns when signing ended for want of a newer manifest, and the key
// that signed until then, if it is to be dropped by now. The key is nil if there
// is none, or if another one began to sign while it was still published: a run
// in between may have found nothing due.
func lapsed(m *keys.Manifest, now time.Time) (ended time.Time, lost *keys.Key) {
	for from := m.CreatedAt; ; {
		ended = m.SignsUntil(firstSigns(m, from))
		lost = lastUntil(m, ended)
		if lost == nil || now.Before(lost.RemoveAt) {
			return ended, nil
		}
		from = firstSigns(m, ended)
		if from.Equal(ended) || !from.Before(lost.RemoveAt) {
			return ended, lost
		}
	}
}

// lastUntil returns the key whose lease ends then, or nil.
func lastUntil(m *keys.Manifest, ended time.Time) *keys.Key {
	for _, k := range m.Keys {
		if k.SignUntil.Equal(ended) && k.RevokedAt.IsZero() {
			return k
		}
	}
	return nil
}

// firstSigns returns the first instant from t on at which a key may sign, or t
// if there is none.
func firstSigns(m *keys.Manifest, t time.Time) time.Time {
	if m.CurrentAt(t) != nil {
		return t
	}
	for _, k := range inOrder(m) {
		if k.ActivateAt.After(t) && m.CurrentAt(k.ActivateAt) != nil {
			return k.ActivateAt
		}
	}
	return t
}
