//go:build pkcs11

package pkcs11_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSoftHSM reports how long a caller waits for a signature, when
// one or several do so at the same time.
func BenchmarkSoftHSM(b *testing.B) {
	h := useSoftHSM(b)
	d := h.open(b, 0)
	for _, key := range []string{"es", "rs", "ed"} {
		uri := "pkcs11:token=sessions;object=" + key
		public, err := d.Public(b.Context(), uri)
		must(b, err)
		s, err := d.Open(uri, public)
		must(b, err)
		for _, callers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/callers=%d", public.Algorithm(), callers), func(b *testing.B) {
				took := make([]time.Duration, b.N)
				var next atomic.Int64
				var group sync.WaitGroup
				b.ResetTimer()
				for range callers {
					group.Go(func() {
						for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
							start := time.Now()
							if _, err := s.Sign(b.Context(), input); err != nil {
								b.Error(err)
							}
							took[n] = time.Since(start)
						}
					})
				}
				group.Wait()
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signatures/s")
			})
		}
	}
}
