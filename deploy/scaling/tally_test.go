package scaling_test

import "time"

// A tally counts requests by the second.
type tally struct {
	start    time.Time
	requests []int32
	bytes    []int64 // that the issuer sends
	delays   []delays
}

// A delays is how old news was when consumers got it.
type delays struct {
	// prompt are the news that took up to 2 seconds.
	news, prompt int
	longest      time.Duration
}

func newTally(s *scenario) *tally {
	seconds := int(s.end.Sub(s.start)/time.Second) + 1
	return &tally{start: s.start, requests: make([]int32, seconds), bytes: make([]int64, seconds), delays: make([]delays, seconds)}
}

func (a *tally) add(t time.Time, bytes int) {
	second := t.Sub(a.start) / time.Second
	a.requests[second]++
	a.bytes[second] += int64(bytes)
}

func (a *tally) delay(t time.Time, d time.Duration) {
	s := &a.delays[t.Sub(a.start)/time.Second]
	s.news++
	if d <= 2*time.Second {
		s.prompt++
	}
	s.longest = max(s.longest, d)
}

// A load is what comes in a window.
type load struct {
	requests int
	// peak and bytesPeak are of the worst second, minute of the worst minute.
	peak, minute int
	bytes        int
	bytesPeak    int
	delays
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
		l.news += a.delays[n].news
		l.prompt += a.delays[n].prompt
		l.longest = max(l.longest, a.delays[n].longest)
		minute += requests
		if n-first >= 60 {
			minute -= int(a.requests[n-60])
		}
		l.minute = max(l.minute, minute)
	}
	return l
}
