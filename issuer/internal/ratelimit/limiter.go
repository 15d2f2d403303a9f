package ratelimit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// defaultEntries is the default of maxEntries.
const defaultEntries = 65_536

// sweep is how many full buckets a new caller removes at most. More than one, so
// that the number of buckets falls again after a peak.
const sweep = 2

// Limiter limits how often each key may pass. The nil Limiter limits nothing.
// Its methods are safe for concurrent use.
type Limiter[K comparable] struct {
	rate  rate.Limit
	burst int
	limit int           // buckets at most
	fill  time.Duration // until an empty bucket is full again

	mu      sync.Mutex
	buckets map[K]*bucket[K]
	// recent is the head of a ring of all buckets: recent.next was used last,
	// recent.prev longest ago.
	recent bucket[K]
}

// bucket is the bucket of one key, and its place in the ring.
type bucket[K comparable] struct {
	key        K
	tokens     *rate.Limiter
	asked      time.Time
	prev, next *bucket[K]
}

// New returns a limiter that lets each key pass perSecond times a second on
// average and burst times at once (at least once), and that remembers at most
// maxEntries keys, about 250 bytes each; less than 1 means 65,536.
//
// If perSecond is zero, negative or not a number, New returns nil, which limits
// nothing.
func New[K comparable](perSecond float64, burst, maxEntries int) *Limiter[K] {
	if !(perSecond > 0) {
		return nil
	}
	if maxEntries < 1 {
		maxEntries = defaultEntries
	}
	burst = max(burst, 1)
	l := &Limiter[K]{
		rate:    rate.Limit(perSecond),
		burst:   burst,
		limit:   maxEntries,
		fill:    seconds(float64(burst) / perSecond),
		buckets: make(map[K]*bucket[K]),
	}
	l.recent.prev, l.recent.next = &l.recent, &l.recent
	return l
}

// Allow takes a token from the key's bucket and reports whether there was one.
// If not, retryAfter is the time until there will be one, in whole milliseconds
// rounded up. Asking earlier changes nothing.
func (l *Limiter[K]) Allow(key K) (retryAfter time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()

	now := time.Now()
	b := l.bucket(key, now)
	if b.tokens.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - b.tokens.TokensAt(now)
	return seconds(missing / float64(l.rate)), false
}

// Len returns the number of keys that are remembered.
func (l *Limiter[K]) Len() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets)
}

// bucket returns the bucket of key, made on first use, and marks it as used
// last.
func (l *Limiter[K]) bucket(key K, now time.Time) *bucket[K] {
	b, known := l.buckets[key]
	if known {
		b.unlink()
	} else {
		l.makeRoom(now)
		b = &bucket[K]{key: key, tokens: rate.NewLimiter(l.rate, l.burst)}
		l.buckets[key] = b
	}
	b.asked = now
	b.prev, b.next = &l.recent, l.recent.next
	b.prev.next, b.next.prev = b, b
	return b
}

// makeRoom drops a few buckets that are full again, or else one that is not, to
// stay within the limit.
func (l *Limiter[K]) makeRoom(now time.Time) {
	for range sweep {
		oldest := l.recent.prev
		full := oldest != &l.recent && now.Sub(oldest.asked) >= l.fill
		if !full && len(l.buckets) < l.limit {
			return
		}
		oldest.unlink()
		delete(l.buckets, oldest.key)
	}
}

// unlink takes b out of the ring.
func (b *bucket[K]) unlink() {
	b.prev.next, b.next.prev = b.next, b.prev
}

// seconds converts a number of seconds to whole milliseconds, rounded up: a
// caller that waits exactly so long must not find that a billionth of a token is
// missing. Rates near zero give the longest duration.
func seconds(s float64) time.Duration {
	const longest = math.MaxInt64 / int64(time.Millisecond)
	ms := math.Ceil(s * 1000)
	if ms >= float64(longest) {
		return time.Duration(longest) * time.Millisecond
	}
	return time.Duration(ms) * time.Millisecond
}
