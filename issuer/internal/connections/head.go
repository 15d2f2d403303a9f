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
	size    int  // bytes so far
	begun   bool // a line of it was not empty
	filled  bool // the line that is coming in is not empty
	tooLong bool
}

// track follows the state of the connection.
func (h *head) track(state http.ConnState) {
	if state == http.StateActive {
		h.over.Store(true)
	}
	if state == http.StateIdle {
		h.lines, h.size, h.begun, h.filled = 0, 0, false, false
		h.over.Store(false)
	}
}

// count counts the lines of what has come in, up to the empty line at the end of
// the head. Empty lines before its first line are no end: after a POST, net/http
// skips two of them.
func (h *head) count(came []byte) {
	if h.over.Load() {
		return
	}
	for line := range bytes.Lines(came) {
		h.size += len(line)
		h.filled = h.filled || len(bytes.TrimRight(line, "\r\n")) > 0
		h.begun = h.begun || h.filled
		if line[len(line)-1] != '\n' {
			break // the rest of it is still to come
		}
		if h.begun && !h.filled {
			h.over.Store(true)
			break
		}
		h.lines++
		h.filled = false
	}
	h.tooLong = h.lines > maxLines
}
