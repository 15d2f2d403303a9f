package scaling_test

import "time"

// A tally counts requests by the second.
type tally struct {
	start    time.Time
	requests []int32
	bytes    []int32 // that the issuer sends
}

func newTally(s *scenario) *tally {
	seconds := int(s.end.Sub(s.start)/time.Second) + 1
	return &tally{start: s.start, requests: make([]int32, seconds), bytes: make([]int32, seconds)}
}

func (a *tally) add(t time.Time, bytes int) {
	second := t.Sub(a.start) / time.Second
	a.requests[second]++
	a.bytes[second] += int32(bytes)
}

// A load is what comes in a window.
type load struct {
	requests int
	// peak and bytesPeak are of the worst second, minute of the worst minute.
	peak, minute int
	bytes        int
	bytesPeak    int
}

func (a *tally) load(w window) load {
	first, last := int(w.from.Sub(a.start)/time.Second), int(w.until.Sub(a.start)/time.Second)
	var l load
	minute := 0
	for n := first; n < last; n++ {
		requests := int(a.requests[n])
		l.requests += requests
		l.peak = max(l.peak, requests)
		l.bytes += int(a.bytes[n])
		l.bytesPeak = max(l.bytesPeak, int(a.bytes[n]))
		minute += requests
		if n-first >= 60 {
			minute -= int(a.requests[n-60])
		}
		l.minute = max(l.minute, minute)
	}
	return l
}
