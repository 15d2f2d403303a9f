package benchmarks_test

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// batch is how many tokens a contestant gets in a round: few, so that a round
// is over before the machine changes its pace.
const batch = 8

// BenchmarkFirst is a token that is seen for the first time.
func BenchmarkFirst(b *testing.B) {
	for _, algorithm := range jwk.Algorithms() {
		b.Run("alg="+string(algorithm), func(b *testing.B) {
			c := newCourse(b, algorithm, poolSize)
			r := newRace(c.all(b, algorithm))
			next := 0
			for b.Loop() {
				if next == poolSize {
					b.StopTimer()
					r.renew(b)
					next = 0
					b.StartTimer()
				}
				r.round(b, c.tokens[next:next+batch])
				next += batch
			}
			r.renew(b)
			r.report(b, c.tokens[:128])
		})
	}
}

// BenchmarkAgain is a token that is seen again. It is one of many, as in a
// service with many customers.
func BenchmarkAgain(b *testing.B) {
	const known, laps = 4096, 16
	for _, algorithm := range jwk.Algorithms() {
		b.Run("alg="+string(algorithm), func(b *testing.B) {
			c := newCourse(b, algorithm, known)
			ours := c.ours(b, 0)
			r := newRace(append([]contestant{ours}, c.peers(b, algorithm)...))
			r[0].laps = laps
			if err := r[0].run(b.Context(), c.tokens); err != nil {
				b.Fatal(err)
			}
			next := 0
			for b.Loop() {
				r.round(b, c.tokens[next:next+batch])
				next = (next + batch) % known
			}
			r.report(b, c.tokens[:batch])
		})
	}
}

// BenchmarkAgainParallel is a token that is seen again: on one processor, and
// on all of them at once.
func BenchmarkAgainParallel(b *testing.B) {
	const known = 4096
	c := newCourse(b, jwk.ES256, known)
	one := &lane{contestant: c.ours(b, 0), laps: 8}
	if err := one.run(b.Context(), c.tokens); err != nil {
		b.Fatal(err)
	}
	all := *one
	workers := runtime.GOMAXPROCS(0)
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			if i == 0 {
				one.times = append(one.times, one.sprint(b, c.tokens, 1))
			} else {
				all.times = append(all.times, all.sprint(b, c.tokens, workers))
			}
		}
	}
	b.ReportMetric(median(one.times), "one-ns/token")
	b.ReportMetric(median(all.times), "all-ns/token")
	b.ReportMetric(median(ratios(one.times, all.times)), "x-one")
	b.ReportMetric(0, "ns/op") // of a whole round: of no use to anybody
}

// sprint has all tokens verified by each of the workers at the same time, and
// returns the time for a token.
func (l *lane) sprint(b *testing.B, tokens []token, workers int) float64 {
	b.Helper()
	start := time.Now()
	var running sync.WaitGroup
	for worker := range workers {
		// Each begins elsewhere.
		at := worker * len(tokens) / workers
		running.Go(func() {
			for range l.laps {
				for i := range tokens {
					if _, err := l.verify(b.Context(), &tokens[(at+i)%len(tokens)]); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	running.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(workers*l.laps*len(tokens))
}

// BenchmarkGarbage is what strangers send.
func BenchmarkGarbage(b *testing.B) {
	c := newCourse(b, jwk.ES256, 1)
	for _, g := range garbage(c.tokens[0].text) {
		b.Run("token="+g.name, func(b *testing.B) {
			r := newRace(append([]contestant{c.ours(b, 0)}, c.peers(b, jwk.ES256)...))
			for _, l := range r {
				l.laps, l.wantError = g.laps, true
			}
			r[0].laps = 100 // ours: a round must take longer than a look at the clock
			tokens := []token{{text: g.text}}
			for b.Loop() {
				r.round(b, tokens)
			}
			r.report(b, tokens)
		})
	}
}

type namedText struct {
	name, text string
	laps       int
}

// garbage returns bad tokens that can be told from a good one without
// cryptography.
func garbage(good string) []namedText {
	return []namedText{
		{"empty", "", 100},
		{"no-dots", strings.Repeat("a", 700), 100},
		{"dots", strings.Repeat(".", 700), 100},
		{"bad-header", strings.Replace(good, "e", "f", 1), 100},
		{"oversized", strings.Repeat("a", 1<<20), 1},
	}
}
