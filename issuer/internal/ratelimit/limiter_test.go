package ratelimit_test

import (
	"math"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/ratelimit"
)

// count asks n times and returns how often the key passed.
func count(l *ratelimit.Limiter[int], key, n int) (passed int) {
	for range n {
		if _, ok := l.Allow(key); ok {
			passed++
		}
	}
	return passed
}

func TestAllow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](2, 3, 10)
		if got := count(limiter, 1, 100); got != 3 {
			t.Errorf("at once: %d passed, want the burst of 3", got)
		}
		if got := count(limiter, 2, 100); got != 3 {
			t.Errorf("another key: %d passed, want its own burst of 3", got)
		}
		time.Sleep(time.Second)
		if got := count(limiter, 1, 100); got != 2 {
			t.Errorf("a second later: %d passed, want 2", got)
		}
		time.Sleep(time.Hour)
		if got := count(limiter, 1, 100); got != 3 {
			t.Errorf("an hour later: %d passed, want no more than the burst of 3", got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](2, 3, 10)
		count(limiter, 1, 3)
		wait, ok := limiter.Allow(1)
		if ok || wait != 500*time.Millisecond {
			t.Fatalf("got %v, %v, want 500ms, false", wait, ok)
		}
		// Being refused must not push the next permission away.
		count(limiter, 1, 100)
		time.Sleep(wait - time.Millisecond)
		if wait, ok := limiter.Allow(1); ok || wait > 2*time.Millisecond {
			t.Errorf("1 ms early: got %v, %v, want at most 2ms, false", wait, ok)
		}
		time.Sleep(time.Millisecond)
		if wait, ok := limiter.Allow(1); !ok || wait != 0 {
			t.Errorf("after the wait: got %v, %v, want 0s, true", wait, ok)
		}
	})
}

// Whatever the rate, who waits as told is let in.
func TestAllowAfterWaiting(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{0.001, 0.3, 1.0 / 3, 7, 333, 12345.678} {
		t.Run(strconv.FormatFloat(perSecond, 'g', -1, 64), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limiter := ratelimit.New[int](perSecond, 1, 1)
				limiter.Allow(0)
				for i := range 200 {
					wait, ok := limiter.Allow(0)
					if ok {
						t.Fatalf("round %d: let in without waiting", i)
					}
					time.Sleep(wait)
					if _, ok := limiter.Allow(0); !ok {
						t.Fatalf("round %d: refused after waiting %v as told", i, wait)
					}
				}
			})
		})
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	for name, perSecond := range map[string]float64{
		"zero": 0, "negative": -1, "not a number": math.NaN(), "minus infinity": math.Inf(-1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limiter := ratelimit.New[string](perSecond, 0, 1)
			if limiter != nil {
				t.Fatal("got a limiter, want nil")
			}
			for range 1000 {
				if wait, ok := limiter.Allow("a"); !ok || wait != 0 {
					t.Fatalf("got %v, %v, want 0s, true", wait, ok)
				}
			}
			if got := limiter.Len(); got != 0 {
				t.Errorf("Len: got %d, want 0", got)
			}
		})
	}
}

func TestExtremeSettings(t *testing.T) {
	t.Parallel()
	t.Run("no burst still lets one pass", func(t *testing.T) {
		t.Parallel()
		limiter := ratelimit.New[string](1e-9, -5, 0)
		if _, ok := limiter.Allow("a"); !ok {
			t.Error("the first request was refused")
		}
		if wait, ok := limiter.Allow("a"); ok || wait <= 24*time.Hour {
			t.Errorf("second request: got %v, %v, want more than a day, false", wait, ok)
		}
	})
	t.Run("rate next to nothing", func(t *testing.T) {
		t.Parallel()
		limiter := ratelimit.New[string](math.SmallestNonzeroFloat64, 1, 0)
		limiter.Allow("a")
		if wait, ok := limiter.Allow("a"); ok || wait <= 0 {
			t.Errorf("got %v, %v, want a very long wait, false", wait, ok)
		}
	})
	t.Run("infinite rate", func(t *testing.T) {
		t.Parallel()
		limiter := ratelimit.New[string](math.Inf(1), 1, 0)
		for range 100 {
			if _, ok := limiter.Allow("a"); !ok {
				t.Fatal("refused")
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const entries = 100
		limiter := ratelimit.New[int](1, 5, entries)
		for key := range 10 * entries {
			if _, ok := limiter.Allow(key); !ok {
				t.Fatalf("new key %d was refused", key)
			}
			if got := limiter.Len(); got > entries {
				t.Fatalf("after key %d: %d keys remembered, want at most %d", key, got, entries)
			}
		}
		if got := limiter.Len(); got != entries {
			t.Errorf("got %d keys, want %d", got, entries)
		}
	})
}

// A bucket that is in use is worth more than one that asked long ago.
func TestBusyKeyIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](0.001, 5, 100)
		count(limiter, -1, 5)
		for key := range 10_000 {
			limiter.Allow(key)
			if _, ok := limiter.Allow(-1); ok {
				t.Fatalf("the empty bucket was reset by %d other keys", key+1)
			}
		}
	})
}

func TestResetNeedsAsManyKeysAsEntries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](0.001, 5, 100)
		count(limiter, -1, 5)
		for key := range 99 {
			limiter.Allow(key)
		}
		if _, ok := limiter.Allow(-1); ok {
			t.Error("99 other keys were enough to reset one of 100 buckets")
		}
	})
}

func TestFullBucketsMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](1, 5, 1000)
		for key := range 500 {
			limiter.Allow(key)
		}
		time.Sleep(5 * time.Second)
		for key := range 500 {
			limiter.Allow(1000 + key)
		}
		if got := limiter.Len(); got != 500 {
			t.Errorf("got %d keys, want the 500 recent ones", got)
		}
	})
}

func TestEmptyBucketIsKeptUntilItIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](1, 5, 1000)
		count(limiter, -1, 5)
		time.Sleep(4 * time.Second)
		count(limiter, 1, 1)
		count(limiter, 2, 1)
		if got := count(limiter, -1, 5); got != 4 {
			t.Errorf("%d requests passed after 4 s at 1 a second, want 4", got)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New[int](1, 50, 8)
		var passed [8]atomic.Int64
		var group sync.WaitGroup
		for worker := range 16 {
			group.Go(func() {
				for i := range 800 {
					key := (worker + i) % len(passed)
					passed[key].Add(int64(count(limiter, key, 1)))
				}
			})
		}
		group.Wait()
		for key := range passed {
			if got := passed[key].Load(); got != 50 {
				t.Errorf("key %d: %d passed, want exactly the burst of 50", key, got)
			}
		}
	})
}

func TestClientKey(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, addr, want string }{
		{"IPv4", "192.0.2.7", "192.0.2.7/32"},
		{"IPv4 in IPv6", "::ffff:192.0.2.7", "192.0.2.7/32"},
		{"IPv6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"IPv6, same subscriber", "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"},
		{"IPv6, next subscriber", "2001:db8:1:3::1", "2001:db8:1:3::/64"},
		{"zone", "fe80::1%eth0", "fe80::/64"},
		{"IPv6 loopback", "::1", "::/64"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ratelimit.ClientKey(netip.MustParseAddr(test.addr))
			if want := netip.MustParsePrefix(test.want); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	if got := ratelimit.ClientKey(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("invalid address: got %v, want the zero Prefix", got)
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	t.Parallel()
	tests := map[time.Duration]int{
		-time.Second:            1,
		0:                       1,
		time.Nanosecond:         1,
		time.Second:             1,
		time.Second + 1:         2,
		1500 * time.Millisecond: 2,
		time.Minute:             60,
	}
	for d, want := range tests {
		if got := ratelimit.RetryAfterSeconds(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	limiter := ratelimit.New[netip.Prefix](1, 10, 100)
	key := ratelimit.ClientKey(netip.MustParseAddr("192.0.2.7"))
	limiter.Allow(key)
	if got := testing.AllocsPerRun(1000, func() { limiter.Allow(key) }); got != 0 {
		t.Errorf("%v allocations for a known key, want none", got)
	}
}

func BenchmarkAllow(b *testing.B) {
	keys := make([]netip.Prefix, 4096)
	for i := range keys {
		keys[i] = ratelimit.ClientKey(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	run := func(b *testing.B, entries, spread int) {
		b.Helper()
		limiter := ratelimit.New[netip.Prefix](1e6, 1e6, entries)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				limiter.Allow(keys[i%spread])
			}
		})
	}
	b.Run("one-key", func(b *testing.B) { run(b, 1<<16, 1) })
	b.Run("known-keys", func(b *testing.B) { run(b, 1<<16, len(keys)) })
	b.Run("new-keys", func(b *testing.B) { run(b, 64, len(keys)) })
}
