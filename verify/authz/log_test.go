package authz_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify/authz"
)

// A stuckWriter writes nothing until it is released.
type stuckWriter struct {
	text     strings.Builder
	released chan struct{}
}

func (s *stuckWriter) Write(p []byte) (int, error) {
	<-s.released
	return s.text.Write(p)
}

func TestLogWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &stuckWriter{released: make(chan struct{})}
		log := authz.NewLogWriter(out)
		const lines = 10_000
		line := []byte("")
		for i := range lines {
			line = fmt.Appendf(line[:0], `{"msg":"refused","number":%d}`+"\n", i)
			if n, err := log.Write(line); n != len(line) || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
		}
		start := time.Now()
		log.Close(time.Second)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("Close waited %v for a stuck log, want 1s", waited)
		}
		close(out.released)
		log.Close(time.Second)
		written, dropped, last := 0, 0, -1
		for text := range strings.Lines(out.text.String()) {
			var entry struct {
				Msg           string
				Number, Count int
			}
			if err := json.Unmarshal([]byte(text), &entry); err != nil {
				t.Fatalf("%q is no line of JSON: %v", text, err)
			}
			switch {
			case entry.Msg == "log lines dropped":
				dropped += entry.Count
			case entry.Number <= last:
				t.Fatalf("line %d is after line %d", entry.Number, last)
			default:
				written++
				last = entry.Number
			}
		}
		if written < 1000 || written+dropped != lines {
			t.Errorf("%d lines written and %d counted as dropped, of %d", written, dropped, lines)
		}
	})
}
