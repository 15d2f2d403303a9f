package tally

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const head = "| Act | Lasted | Creates | Tried again | 503 | Failed | Slowest create | Verifications | Refused, valid | Revoked, accepted late | Slowest verification |\n" +
	"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"

// WriteTable writes a row for each act, as Markdown. A time is the worst of its
// act. Creates that were not answered with a session have no part in theirs.
func (t *Tally) WriteTable(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var table strings.Builder
	table.WriteString(head)
	for _, a := range t.acts {
		table.WriteString(a.row())
	}
	_, err := io.WriteString(w, table.String())
	return err
}

func (a *Act) row() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("| %s | %v | %d | %d | %d | %d | %v | %d | %d | %d | %v |\n",
		a.name, a.lasted.Round(time.Second), a.creates, a.again, a.unavailable, a.failed,
		a.worstCreate.Round(time.Millisecond), a.verifications, a.refused, a.late,
		a.worstVerify.Round(time.Millisecond))
}
