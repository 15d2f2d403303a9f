package benchmarks_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// A lane is one contestant's part in a race.
type lane struct {
	contestant
	// laps is how often it verifies each token in a round.
	laps int
	// times are nanoseconds for a token, one entry for each round.
	times []float64
	// wantError is for races with bad tokens.
	wantError bool
}

// A race lets contestants take turns at the same tokens.
type race []*lane

func newRace(contestants []contestant) race {
	r := make(race, len(contestants))
	for i, c := range contestants {
		r[i] = &lane{contestant: c, laps: 1}
	}
	return r
}

// round gives every contestant the same tokens, in a new order, so that each
// one comes as often after one that leaves the caches cold as any other.
func (r race) round(b *testing.B, tokens []token) {
	b.Helper()
	ctx := b.Context()
	for _, i := range rand.Perm(len(r)) {
		l := r[i]
		start := time.Now()
		err := l.run(ctx, tokens)
		spent := time.Since(start)
		if err != nil != l.wantError {
			b.Fatalf("%s: unexpected outcome: %v", l.name, err)
		}
		l.times = append(l.times, float64(spent.Nanoseconds())/float64(len(tokens)*l.laps))
	}
}

// run returns the last error, of good tokens nil.
func (l *lane) run(ctx context.Context, tokens []token) (last error) {
	for range l.laps {
		for i := range tokens {
			if _, err := l.verify(ctx, &tokens[i]); err != nil {
				last = err
			}
		}
	}
	return last
}

// renew makes all contestants forget.
func (r race) renew(b *testing.B) {
	b.Helper()
	for _, l := range r {
		if l.renew != nil {
			l.renew(b)
		}
	}
}

// report makes one result for each contestant, named lib=NAME: the time for a
// token, its percentage of the primitive's if that took part, and the
// allocations for a token.
func (r race) report(b *testing.B, tokens []token) {
	b.Helper()
	var raw *lane
	for _, l := range r {
		if l.name == rawName {
			raw = l
		}
	}
	for _, l := range r {
		allocations := l.allocations(b.Context(), tokens)
		b.Run("lib="+l.name, func(b *testing.B) {
			b.ReportMetric(median(l.times), "ns/token")
			b.ReportMetric(allocations, "allocs/token")
			if raw != nil {
				b.ReportMetric(100*median(ratios(l.times, raw.times)), "%-of-raw")
			}
			b.ReportMetric(0, "ns/op") // nothing runs here
		})
	}
}

// allocations counts them for one token, in the whole program: what a
// contestant leaves to goroutines counts, too.
func (l *lane) allocations(ctx context.Context, tokens []token) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_ = l.run(ctx, tokens)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(len(tokens)*l.laps)
}

func ratios(a, b []float64) []float64 {
	result := make([]float64, len(a))
	for i := range a {
		result[i] = a[i] / b[i]
	}
	return result
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
