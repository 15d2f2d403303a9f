package authz

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// maxPending bounds the lines that wait to be written.
const maxPending = 1024

// A logWriter passes lines on to another writer, from one goroutine. If the other
// writer is stuck, lines wait; what is too much is dropped, and the log says how
// many once it moves again. It is safe for concurrent use.
type logWriter struct {
	out     io.Writer
	pending chan []byte // nil is the end
	dropped atomic.Int64
	done    chan struct{} // closed when everything is written
}

// newLogWriter returns a writer to out. Close ends its goroutine.
func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: out, pending: make(chan []byte, maxPending), done: make(chan struct{})}
	go w.run()
	return w
}

// Write accepts one line. It does not wait and does not fail.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.pending <- bytes.Clone(line):
	default:
		w.dropped.Add(1)
	}
	return len(line), nil
}

// Close writes the lines that wait, for at most patience. Later ones are dropped.
func (w *logWriter) Close(patience time.Duration) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case w.pending <- nil:
	case <-timeout.C:
		return
	}
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

// run writes lines. Where the log cannot be written, there is no place to report
// that.
func (w *logWriter) run() {
	defer close(w.done)
	for line := range w.pending {
		_, _ = w.out.Write(line)
		if n := w.dropped.Swap(0); n > 0 {
			_, _ = fmt.Fprintf(w.out, `{"time":%q,"level":"ERROR","msg":"log lines dropped","count":%d}`+"\n",
				time.Now().Format(time.RFC3339Nano), n)
		}
		if line == nil {
			return
		}
	}
}
