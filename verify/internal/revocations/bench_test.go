package revocations_test

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// large returns knowledge with n entries.
func large(n int) *revocations.Knowledge {
	entries := make([]wire.Revocation, n)
	for i := range entries {
		entries[i] = entry(wire.RevokeCustomer, strconv.Itoa(i), time.Minute, 25*time.Hour)
	}
	k := new(revocations.Knowledge)
	r := k.Request(at(0), "n", 0)
	k, _ = k.Take(&r, answer(0, 1, entries...), issuer, at(0))
	return k
}

// BenchmarkTake takes an answer with one entry, with 100,000 in force.
func BenchmarkTake(b *testing.B) {
	k := large(100_000)
	r := k.Request(at(0), "n", 0)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		a := answer(1, 2, entry(wire.RevokeSession, strconv.Itoa(i), 0, 25*time.Hour))
		if _, verdict := k.Take(&r, a, issuer, at(time.Second)); verdict != revocations.Taken {
			b.Fatal(verdict)
		}
	}
}

// BenchmarkEnds looks up a session, with 10,000 entries in force.
func BenchmarkEnds(b *testing.B) {
	k, s := large(10_000), subject(0)
	b.ReportAllocs()
	for b.Loop() {
		if k.Ends(s) {
			b.Fatal("ended")
		}
	}
}

// BenchmarkSubject computes the IDs of a session.
func BenchmarkSubject(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		subject(0)
	}
}

// BenchmarkMemory measures what an entry takes in memory, of 100,000.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		k := large(n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/entry")
		runtime.KeepAlive(k)
	}
}
