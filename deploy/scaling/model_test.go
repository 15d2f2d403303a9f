package scaling_test

import (
	"math/rand/v2"
	"time"
)

// The rules of package verify, source.go and fetch.go, as the model has them.
// What they do is not read from there on purpose: TestModel compares the model
// with real verifiers, and so finds a rule that has changed.
const (
	minFreshness    = time.Minute
	maxFreshness    = time.Hour
	maxStale        = time.Hour
	refreshCooldown = 30 * time.Second
	firstRetry      = time.Second

	// seed makes the model's numbers the same on each machine.
	seed = 1
)

// A consumer is a verifier in the model. Consumers do not influence each other,
// so each goes through the whole scenario on its own.
type consumer struct {
	random *rand.Rand
	// first is when it sees the first token of each kind.
	first []time.Time
	// held is the last document it fetched, nil before there is any.
	held        *document
	usableUntil time.Time
	failures    int
}

// simulate counts what n consumers ask. The same seed gives the same counts.
func simulate(s *scenario, n int, seed uint64) *tally {
	counts := newTally(s)
	for i := range n {
		c := consumer{random: rand.New(rand.NewPCG(seed, uint64(i)))}
		share := s.spread / time.Duration(n)
		c.run(s, s.start.Add(share*time.Duration(i)+c.upTo(share)), counts)
	}
	return counts
}

func (c *consumer) run(s *scenario, start time.Time, counts *tally) {
	c.first = make([]time.Time, len(s.tokens))
	for i, k := range s.tokens {
		c.first[i] = later(start, k.from).Add(c.upTo(k.every))
	}
	c.first[0] = start
	for t := start; t.Before(s.end); {
		bytes, due := c.attempt(s.issuer, t)
		counts.add(t, bytes)
		t = c.next(s, t, due)
	}
}

func (c *consumer) upTo(d time.Duration) time.Duration {
	return time.Duration(c.random.Float64() * float64(d))
}

// attempt asks the issuer, and says when the timer fires next.
func (c *consumer) attempt(s *issuer, t time.Time) (bytes int, due time.Time) {
	if s.down.contains(t) {
		wait := refreshCooldown
		if c.held == nil && c.failures < 5 {
			wait = firstRetry << c.failures
		}
		c.failures++
		return 0, t.Add(wait + c.upTo(wait/5))
	}
	d := s.document(t)
	bytes = d.full
	if c.held != nil && c.held.etag == d.etag {
		bytes = d.unchanged
	}
	fresh := min(max(d.manifest.MaxAge(t), minFreshness), maxFreshness)
	c.held, c.failures, c.usableUntil = d, 0, t.Add(fresh+maxStale)
	return bytes, t.Add(fresh*3/4 + c.upTo(fresh/10))
}

// next is when the timer fires, or before that when a token asks for keys: one
// whose key the set does not have, or any when the set is too old to be used.
// After a failure none does.
func (c *consumer) next(s *scenario, last, due time.Time) time.Time {
	if c.failures > 0 {
		return due
	}
	for i, k := range s.tokens {
		from := last.Add(refreshCooldown)
		if c.held != nil && c.held.keys[k.keyID] {
			from = later(from, c.usableUntil)
		}
		if seen := k.after(c.first[i], from); seen.Before(due) && seen.Before(k.until) {
			due = seen
		}
	}
	return due
}

// after is when a token is seen at t or next after it.
func (k *tokens) after(first, t time.Time) time.Time {
	if !first.Before(t) {
		return first
	}
	seen := first.Add(t.Sub(first).Truncate(k.every))
	if seen.Before(t) {
		seen = seen.Add(k.every)
	}
	return seen
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
