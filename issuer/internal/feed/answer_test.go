package feed_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// A consumer gets what it has not heard, and everything if that is not known.
func TestDeltas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		fill(t, store, organization, 10)
		f := follow(t, store)
		synctest.Wait()
		all := ask(t, f, "", 0)
		for _, c := range []struct {
			name        string
			log         string
			after, from int64
			entries     int
		}{
			{"nothing heard", all.Log, 0, 0, 10},
			{"half heard", all.Log, 5, 5, 5},
			{"all heard", all.Log, 10, 10, 0},
			{"more heard than there is", all.Log, 11, 0, 10},
			{"another log", "another", 5, 0, 10},
			{"no log", "", 5, 0, 10},
		} {
			got := ask(t, f, c.log, c.after)
			if got.After != c.from || len(got.Revoked) != c.entries || got.Seq != 10 || !got.Enabled || got.MaxAge != 900 || got.Pause != 1 {
				t.Errorf("%s: got %d entries after %d of %d, want %d after %d", c.name, len(got.Revoked), got.After, got.Seq, c.entries, c.from)
			}
		}
	})
}

// Whatever consumers say they have heard, there are few different large answers, and
// none lacks anything: each takes time to make, and anybody may ask for it.
func TestFewLargeAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const entries = 2000
		store := newLog()
		fill(t, store, organization, entries)
		f := follow(t, store)
		synctest.Wait()
		all, large := ask(t, f, "", 0), map[int64]bool{}
		for after := range int64(entries + 1) {
			got := ask(t, f, all.Log, after)
			if got.After > after || len(got.Revoked) != entries-int(got.After) {
				t.Fatalf("after %d: got %d entries after %d", after, len(got.Revoked), got.After)
			}
			if q := (&feed.Query{Log: all.Log, After: after}); f.Large(q) != (len(got.Revoked) > 150) {
				t.Fatalf("an answer of %d entries is large: %v", len(got.Revoked), f.Large(q))
			}
			if len(got.Revoked) > 150 {
				large[got.After] = true
			}
		}
		if len(large) > 3 {
			t.Errorf("there are %d different large answers", len(large))
		}
	})
}

// All who wait are woken by one entry, and get one answer, which was made once.
func TestWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		fill(t, store, organization, 10)
		f := follow(t, store)
		synctest.Wait()
		q := feed.Query{Log: ask(t, f, "", 0).Log, After: 10, Gzip: true, Pause: time.Second}
		var mu sync.Mutex
		var all sync.WaitGroup
		bodies := map[*byte]int{}
		for range 1000 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				f.Wait(ctx, &q, nil)
				a, err := f.Answer(&q)
				if err != nil || ctx.Err() != nil {
					t.Errorf("got %v, %v", err, ctx.Err())
					return
				}
				mu.Lock()
				defer mu.Unlock()
				bodies[&a.Body[0]]++
			})
		}
		time.Sleep(5 * time.Second)
		end(t, f, revocations.Session, uuid.NewString())
		all.Wait()
		if len(bodies) != 1 {
			t.Errorf("%d answers were made, want 1", len(bodies))
		}
	})
}

// Waiting ends with its context, when the server stops, and at once if there is
// something to hear.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		fill(t, store, organization, 1)
		f := follow(t, store)
		synctest.Wait()
		log := ask(t, f, "", 0).Log
		stopping := make(chan struct{})
		close(stopping)
		for _, c := range []struct {
			name     string
			query    feed.Query
			stopping chan struct{}
			want     time.Duration
		}{
			{"nothing new", feed.Query{Log: log, After: 1}, nil, 5 * time.Second},
			{"stopping", feed.Query{Log: log, After: 1}, stopping, 0},
			{"news", feed.Query{Log: log}, nil, 0},
			{"more heard than there is", feed.Query{Log: log, After: 2}, nil, 0},
			{"another log", feed.Query{Log: "x", After: 1}, nil, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			start := time.Now()
			f.Wait(ctx, &c.query, c.stopping)
			cancel()
			if took := time.Since(start); took != c.want {
				t.Errorf("%s: waited %v, want %v", c.name, took, c.want)
			}
		}
	})
}

// A consumer that has heard more than this replica makes it read the log. Nobody can
// make it do so all the time.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		log := ask(t, f, "", 0).Log
		time.Sleep(100 * time.Millisecond)
		fill(t, store, organization, 3)
		start := time.Now()
		if err := f.CatchUp(t.Context(), &feed.Query{Log: log, After: 3}); err != nil {
			t.Error(err)
		}
		if got := ask(t, f, log, 3); got.Seq != 3 || time.Since(start) > 100*time.Millisecond {
			t.Errorf("got seq %d after %v", got.Seq, time.Since(start))
		}
		before := store.reads
		start = time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := f.CatchUp(t.Context(), &feed.Query{Log: log, After: 1 << 60}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// After one more read it is clear that the log has no more.
		if reads, took := store.reads-before, time.Since(start); reads > 2 || took > 100*time.Millisecond {
			t.Errorf("the log was read %d times in %v", reads, took)
		}
	})
}

// A replica that cannot read the log does not keep consumers from asking another
// one: it answers none that has heard more or once what it knows is too old, and lets
// none wait for news.
func TestSentElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		fill(t, store, organization, 1)
		f := follow(t, store)
		synctest.Wait()
		name := ask(t, f, "", 0).Log
		start := time.Now()
		store.set(func(l *log) { l.err = errAway })
		time.Sleep(time.Second)
		catchUp := func(after int64) error {
			began := time.Now()
			err := f.CatchUp(t.Context(), &feed.Query{Log: name, After: after})
			if took := time.Since(began); took != 0 {
				t.Errorf("one that has heard %d waits %v", after, took)
			}
			return err
		}
		if err := catchUp(1); err != nil {
			t.Errorf("one that has heard as much: %v", err)
		}
		if err := catchUp(2); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("one that has heard more: got %v, want ErrUnavailable", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), maxAge)
		defer cancel()
		f.Wait(ctx, &feed.Query{Log: name, After: 1}, nil)
		if waited := time.Since(start); waited < 2*time.Second || waited > 3*time.Second || !f.Away() {
			t.Errorf("waited %v for news that cannot come, then away: %v", waited, f.Away())
		}
		if err := catchUp(1); err != nil {
			t.Errorf("one that has heard as much, later: %v", err)
		}
		time.Sleep(maxAge / 2)
		if err := catchUp(1); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("at half of the maximum age: got %v, want ErrUnavailable", err)
		}
		store.set(func(l *log) { l.err = nil })
		time.Sleep(time.Second)
		if f.Away() {
			t.Error("away although it was read")
		}
	})
}

// 10,000 entries are less than 300 KB when compressed.
func TestSize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		for range 10_000 {
			fill(t, store, uuid.New(), 1)
			time.Sleep(7 * time.Second)
		}
		f := follow(t, store)
		synctest.Wait()
		plain, err := f.Answer(&feed.Query{})
		packed, err2 := f.Answer(&feed.Query{Gzip: true})
		if err != nil || err2 != nil || !packed.Gzip || !f.Large(&feed.Query{}) {
			t.Fatalf("got %v, %v, gzip %v", err, err2, packed.Gzip)
		}
		t.Logf("10,000 entries: %d bytes, compressed %d", len(plain.Body), len(packed.Body))
		if len(packed.Body) >= 300_000 {
			t.Errorf("%d bytes compressed, want less than 300,000", len(packed.Body))
		}
	})
}

// An entry costs at most 200 bytes of memory. This measures the heap, so nothing
// else may run.
func TestMemory(t *testing.T) {
	const n = 100_000
	store := newLog()
	fill(t, store, organization, n)
	before := heap()
	f := feed.New(feed.Config{Log: store, MaxAge: maxAge})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	for f.Status().Entries < n {
		runtime.Gosched()
	}
	stop()
	running.Wait()
	each := (heap() - before) / n
	t.Logf("%d bytes an entry", each)
	if each > 200 {
		t.Errorf("%d bytes an entry, want at most 200", each)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(store)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
