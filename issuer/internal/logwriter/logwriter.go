// Package logwriter writes the log without making a request wait for it.
package logwriter

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// maxPending bounds the lines that wait to be written, in bytes.
const maxPending = 1 << 20

// A Writer passes lines on to another writer, from one goroutine: all that have
// come since its last write, in one write. If the other writer is stuck, lines
// wait; beyond a mebibyte they are dropped, and the log says how many once it
// moves again. It is safe for concurrent use.
type Writer struct {
	out  io.Writer
	done chan struct{} // closed when everything is written

	mu      sync.Mutex
	changed sync.Cond
	pending []byte
	dropped int // since the last line about it
	total   int // dropped since New
	closed  bool
}

// New returns a Writer to out. Close ends its goroutine.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, done: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write accepts one line. It does not wait and does not fail.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.pending)+len(line) > maxPending {
		w.dropped++
		w.total++
		return len(line), nil
	}
	w.pending = append(w.pending, line...)
	w.changed.Signal()
	return len(line), nil
}

// Dropped returns how many lines were dropped since New.
func (w *Writer) Dropped() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Close writes the lines that wait, for at most patience.
func (w *Writer) Close(patience time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.changed.Signal()
	w.mu.Unlock()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var lines []byte
	for {
		var more bool
		if lines, more = w.next(lines); !more {
			return
		}
		// Where the log cannot be written, there is no place to report that.
		_, _ = w.out.Write(lines)
	}
}

// next waits for lines and takes them, in exchange for a buffer that was
// written. It returns false when there are none left.
func (w *Writer) next(written []byte) (lines []byte, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) == 0 && w.dropped == 0 && !w.closed {
		w.changed.Wait()
	}
	lines, w.pending = w.pending, written[:0]
	if w.dropped > 0 {
		lines = fmt.Appendf(lines, `{"time":%q,"level":"ERROR","msg":"log lines dropped","count":%d}`+"\n",
			time.Now().Format(time.RFC3339Nano), w.dropped)
		w.dropped = 0
	}
	return lines, len(lines) > 0
}
