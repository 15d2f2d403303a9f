package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/customersession/customersession/keys"
)

// The timeline is for a terminal of 80 columns.
const timelineWidth = 64

// timeline draws a row for each key, from the first instant that matters to the
// last: the state of the key at each, and where now is.
func timeline(m *keys.Manifest, now time.Time) string {
	from, to := now, now
	for _, k := range m.Keys {
		if k.PublishAt.Before(from) {
			from = k.PublishAt
		}
		if k.RemoveAt.After(to) {
			to = k.RemoveAt
		}
	}
	// The distant past is of no interest, and would leave no room for the rest.
	if earliest := now.Add(-to.Sub(now)); from.Before(earliest) {
		from = earliest
	}
	step := max(to.Sub(from)/timelineWidth, time.Second)
	at := min(int(now.Sub(from)/step), timelineWidth-1)

	var b strings.Builder
	width := 0
	for _, k := range m.Keys {
		width = max(width, len(short(m, k.ID())))
	}
	indent := strings.Repeat(" ", width+2)
	fmt.Fprintf(&b, "%s%snow\n", indent, strings.Repeat(" ", max(at-1, 0)))
	for _, k := range inOrder(m) {
		row := make([]byte, timelineWidth)
		for i := range row {
			row[i] = mark(m, k, from.Add(time.Duration(i)*step))
		}
		row[at] = '|'
		fmt.Fprintf(&b, "%-*s  %s\n", width, short(m, k.ID()), strings.TrimRight(string(row), " "))
	}
	left, right := minute(from), minute(to)
	fmt.Fprintf(&b, "%s%s%*s\n", indent, left, timelineWidth-len(left), right)
	fmt.Fprintf(&b, "%s. next   # signs   ~ signs once its lease is renewed   - retired   x revoked\n", indent)
	return b.String()
}

// mark returns the character for the state of a key at t.
func mark(m *keys.Manifest, k *keys.Key, t time.Time) byte {
	switch m.StateAt(k, t) {
	case keys.Next:
		return '.'
	case keys.Current:
		return '#'
	case keys.Retired:
		if m.CurrentAt(t) == nil && k == lastActive(m, t) {
			return '~'
		}
		return '-'
	case keys.Revoked:
		if t.Before(k.RemoveAt) {
			return 'x'
		}
		return ' '
	default:
		return ' '
	}
}

// lastActive returns the key that would sign at t if its lease were renewed.
func lastActive(m *keys.Manifest, t time.Time) *keys.Key {
	var last *keys.Key
	for _, k := range m.Keys {
		if k.Imported || !k.RevokedAt.IsZero() || k.ActivateAt.After(t) || !t.Before(k.RemoveAt) {
			continue
		}
		if last == nil || k.ActivateAt.After(last.ActivateAt) {
			last = k
		}
	}
	return last
}
