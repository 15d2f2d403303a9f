package benchmarks_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
)

// batch is how many tokens a contestant gets in a round: few, so that a round
// is over before the machine changes its pace.
const batch = 8

// BenchmarkFirst is a token that is seen for the first time.
func BenchmarkFirst(b *testing.B) {
	for _, algorithm := range jwk.Algorithms() {
		b.Run(string(algorithm), func(b *testing.B) {
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
	const known, laps = 512, 128
	for _, algorithm := range jwk.Algorithms() {
		b.Run(string(algorithm), func(b *testing.B) {
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
			r.reportLead(b)
		})
	}
}

// BenchmarkAgainParallel is a token that is seen again, on as many cores as
// -cpu says.
func BenchmarkAgainParallel(b *testing.B) {
	const known = 512
	c := newCourse(b, jwk.ES256, known)
	ours := c.ours(b, 0)
	for i := range c.tokens {
		if _, err := ours.verify(b.Context(), &c.tokens[i]); err != nil {
			b.Fatal(err)
		}
	}
	var goroutines atomic.Uint32
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := goroutines.Add(1) * known / 4
		for pb.Next() {
			i++
			if _, err := ours.verify(b.Context(), &c.tokens[i%known]); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkGarbage is what strangers send.
func BenchmarkGarbage(b *testing.B) {
	c := newCourse(b, jwk.ES256, 1)
	for _, g := range garbage(c.tokens[0].text) {
		b.Run(g.name, func(b *testing.B) {
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
