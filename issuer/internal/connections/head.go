package connections

import (
	"bytes"
	"net/http"
	"sync/atomic"
)

// maxLines is how many lines the head of a request may have. net/http bounds its
// bytes only, and keeps 140 bytes for each line, however short.
const maxLines = 128

// A head counts the lines of the head of a request while it comes in.
type head struct {
	over    atomic.Bool // the head has come in
	lines   int
	empty   bool // the line that is coming in is empty so far
	tooLong bool
}

// track follows the state of the connection.
func (h *head) track(state http.ConnState) {
	if state == http.StateActive {
		h.over.Store(true)
	}
	if state == http.StateIdle {
		h.lines, h.empty = 0, false
		h.over.Store(false)
	}
}

// count counts the lines of what has come in, up to the empty line at the end of
// the head.
func (h *head) count(came []byte) {
	if h.over.Load() {
		return
	}
	for line := range bytes.Lines(came) {
		h.empty = h.empty && len(bytes.TrimRight(line, "\r\n")) == 0
		if line[len(line)-1] != '\n' {
			break // the rest of it is still to come
		}
		if h.empty && h.lines > 0 {
			h.over.Store(true)
			break
		}
		h.lines++
		h.empty = true
	}
	h.tooLong = h.lines > maxLines
}
