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
	return fmt.Errorf("by the clock here it is %s, and signing ended %s ago, at %s, for want of a renewal: key %s would be dropped. "+
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

// lapsed returns when signing ended for want of a newer manifest, and a key that
// signed until then and is to be dropped by now. The key is nil if there is
// none.
func lapsed(m *keys.Manifest, now time.Time) (ended time.Time, lost *keys.Key) {
	ended = m.SignsUntil(firstSigns(m))
	for _, k := range m.Keys {
		if k.SignUntil.Equal(ended) && k.RevokedAt.IsZero() && !now.Before(k.RemoveAt) {
			return ended, k
		}
	}
	return ended, nil
}

// firstSigns returns the first instant from the making of m on at which a key
// may sign.
func firstSigns(m *keys.Manifest) time.Time {
	first := m.CreatedAt
	if m.CurrentAt(first) != nil {
		return first
	}
	for _, k := range inOrder(m) {
		if k.ActivateAt.After(first) && m.CurrentAt(k.ActivateAt) != nil {
			return k.ActivateAt
		}
	}
	return first
}
