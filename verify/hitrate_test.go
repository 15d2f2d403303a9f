package verify_test

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// An exactLRU forgets the token that was not used for the longest time: what
// the cache is compared with.
type exactLRU struct {
	size  int
	order *list.List // of string, the last used in front
	known map[string]*list.Element
}

func newExactLRU(size int) *exactLRU {
	return &exactLRU{size: size, order: list.New(), known: map[string]*list.Element{}}
}

// use reports whether a token was known, and remembers it.
func (l *exactLRU) use(token string) bool {
	if e, ok := l.known[token]; ok {
		l.order.MoveToFront(e)
		return true
	}
	if l.order.Len() == l.size {
		oldest := l.order.Back()
		delete(l.known, l.order.Remove(oldest).(string))
	}
	l.known[token] = l.order.PushFront(token)
	return false
}

// BenchmarkHitRate is how many tokens the cache knows when they come again:
// with as many customers as fill a part of it, and with ten times as many
// customers as it has places for, some of whom come far more often than others.
func BenchmarkHitRate(b *testing.B) {
	const size = 4096
	s := newSigner(b, jwk.EdDSA)
	tokens := many(b, s, 10*size)
	requests := func(b *testing.B, name string, next func() string) {
		b.Helper()
		b.Run(name, func(b *testing.B) {
			v, seen := newCached(b, func(c *verify.Config) { c.KeySource, c.CacheSize = s, size })
			lru, lruHits := newExactLRU(size), 0
			request := func() {
				token := next()
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
				if lru.use(token) {
					lruHits++
				}
			}
			for range 4 * size { // the first look at each token is no hit
				request()
			}
			const counted = 8 * size
			before := seen.count("ok", true)
			lruHits = 0
			for b.Loop() {
				for range counted {
					request()
				}
			}
			b.ReportMetric(100*float64(seen.count("ok", true)-before)/float64(b.N*counted), "%-hits")
			b.ReportMetric(100*float64(lruHits)/float64(b.N*counted), "%-lru-hits")
			b.ReportMetric(0, "ns/op")
		})
	}
	for _, percent := range []int{25, 50, 75, 100} {
		customers, last := size*percent/100, 0
		requests(b, fmt.Sprintf("full=%d", percent), func() string {
			last = (last + 1) % customers
			return tokens[last]
		})
	}
	for _, skew := range []float64{1.01, 1.2} {
		zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), skew, 1, uint64(len(tokens)-1))
		requests(b, fmt.Sprintf("zipf=%.2f", skew), func() string { return tokens[zipf.Uint64()] })
	}
}
