package logwriter_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/logwriter"
)

// A reader takes what is written, unless it is stuck.
type reader struct {
	stuck  chan struct{} // nil: never
	writes int
	got    bytes.Buffer
}

func (r *reader) Write(p []byte) (int, error) {
	if r.stuck != nil {
		<-r.stuck
	}
	r.writes++
	return r.got.Write(p)
}

// Every line arrives whole and, from one goroutine, in order.
func TestWriter(t *testing.T) {
	t.Parallel()
	r := &reader{}
	w := logwriter.New(r)
	const writers, lines = 8, 500
	var running sync.WaitGroup
	for n := range writers {
		running.Go(func() {
			for i := range lines {
				fmt.Fprintf(w, "%d %d\n", n, i)
			}
		})
	}
	running.Wait()
	w.Close(time.Minute)
	var next [writers]int
	for line := range strings.Lines(r.got.String()) {
		var n, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &n, &i); err != nil || i != next[n] {
			t.Fatalf("got line %q, want %d of writer %d", line, next[n], n)
		}
		next[n]++
	}
	for n, got := range next {
		if got != lines {
			t.Errorf("writer %d: got %d lines, want %d", n, got, lines)
		}
	}
}

// A stuck reader makes nobody wait. What comes in the meantime is written
// together, and what was dropped is counted.
func TestStuckReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{stuck: make(chan struct{})}
		w := logwriter.New(r)
		line := strings.Repeat("x", 1023) + "\n"
		fmt.Fprint(w, line)
		synctest.Wait() // the reader is stuck on it
		for range 1024 + 7 {
			fmt.Fprint(w, line)
		}
		close(r.stuck)
		synctest.Wait()
		if n := strings.Count(r.got.String(), line); n != 1+1024 || r.writes != 2 {
			t.Errorf("got %d lines in %d writes, want 1025 in 2", n, r.writes)
		}
		if !strings.Contains(r.got.String(), `"msg":"log lines dropped","count":7}`+"\n") {
			t.Errorf("the log does not say that 7 lines were dropped")
		}
		fmt.Fprint(w, "again\n")
		w.Close(time.Minute)
		if !strings.HasSuffix(r.got.String(), "}\nagain\n") {
			t.Error("after that, the log does not go on")
		}
	})
}

// The end of the program does not wait for a stuck reader for ever.
func TestCloseIsPatientForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{stuck: make(chan struct{})}
		w := logwriter.New(r)
		fmt.Fprint(w, "line\n")
		start := time.Now()
		w.Close(time.Second)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
		fmt.Fprint(w, "late\n")
		close(r.stuck)
	})
}
