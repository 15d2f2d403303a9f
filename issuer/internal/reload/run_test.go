package reload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// polled runs a test on a file that is only polled, each 10 seconds, on the
// clock of a bubble.
func polled(t *testing.T, config reload.Config[string], test func(t *testing.T, x *fixture)) {
	t.Helper()
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, config)
		reload.Unwatch(x.File)
		x.start(t)
		if event := x.next(t); event.Kind != reload.Unwatched {
			t.Errorf("first event: got %v, want unwatched", event.Kind)
		}
		// Run looks at the file once before it begins to poll.
		time.Sleep(time.Millisecond)
		synctest.Wait()
		test(t, x)
	})
}

// polls lets the time of n polls pass.
func polls(n int) {
	time.Sleep(time.Duration(n) * 10 * time.Second)
	synctest.Wait()
}

// expect checks the next event, which must have been told already.
func (x *fixture) expect(t *testing.T, kind reload.Kind, err error) {
	t.Helper()
	select {
	case event := <-x.events:
		if event.Kind != kind || !errors.Is(event.Err, err) {
			t.Errorf("got the event %v, %v, want %v, %v", event.Kind, event.Err, kind, err)
		}
	default:
		t.Errorf("no event, want %v", kind)
	}
}

// counted returns load and how often it was called.
func counted() (count func(io.Reader) (string, error), loads *atomic.Int32) {
	loads = new(atomic.Int32)
	return func(r io.Reader) (string, error) {
		loads.Add(1)
		return load(r)
	}, loads
}

func TestBadVersionIsReportedOnce(t *testing.T) {
	t.Parallel()
	count, loads := counted()
	polled(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		write(t, x.path, "broken")
		polls(1)
		x.expect(t, reload.Refused, errBroken)
		for i := range 5 {
			polls(1)
			touched := time.Now().Add(time.Duration(i) * time.Hour)
			must(t, os.Chtimes(x.path, touched, touched))
		}
		polls(10)
		x.silent(t)
		if got := loads.Load(); got != 2 {
			t.Errorf("%d loads, want 2: a bad version need not be loaded again", got)
		}
		if got := x.Status(); got.Refusals != 1 || !errors.Is(got.Err, errBroken) {
			t.Errorf("got the status %+v, want one refusal and its reason", got)
		}
		write(t, x.path, "still broken")
		polls(10)
		x.expect(t, reload.Refused, errBroken)
		x.silent(t)
	})
}

func TestRestoredVersion(t *testing.T) {
	t.Parallel()
	count, loads := counted()
	polled(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		write(t, x.path, "broken")
		polls(1)
		x.expect(t, reload.Refused, errBroken)
		write(t, x.path, "one")
		polls(5)
		x.expect(t, reload.Restored, nil)
		x.silent(t)
		if got := x.Status(); got.Err != nil || got.Loads != 1 {
			t.Errorf("got the status %+v, want one load and no error", got)
		}
		if got := loads.Load(); got != 2 {
			t.Errorf("%d loads, want 2: the version in use need not be loaded again", got)
		}
	})
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	polled(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
		must(t, os.Remove(x.path))
		polls(5)
		x.expect(t, reload.Refused, os.ErrNotExist)
		x.silent(t)
		write(t, x.path, "one")
		polls(1)
		x.expect(t, reload.Restored, nil)
		must(t, os.Remove(x.path))
		polls(1)
		x.expect(t, reload.Refused, os.ErrNotExist)
		write(t, x.path, "two")
		polls(1)
		x.expect(t, reload.Replaced, nil)
		if got := x.Current(); got != "two" {
			t.Errorf("got %q, want %q", got, "two")
		}
	})
}

func TestTouchedFileIsNotLoaded(t *testing.T) {
	t.Parallel()
	count, loads := counted()
	polled(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		for range 5 {
			now := time.Now()
			must(t, os.Chtimes(x.path, now, now))
			polls(1)
			replace(t, x.path, "one")
			polls(1)
		}
		x.silent(t)
		if got := loads.Load(); got != 1 {
			t.Errorf("%d loads, want the first one only", got)
		}
	})
}

// Two versions of the same size within one tick of the file system's clock
// differ in nothing but their content.
func TestSameSizeSameTime(t *testing.T) {
	t.Parallel()
	config := reload.Config[string]{Poll: 500 * time.Millisecond}
	polled(t, config, func(t *testing.T, x *fixture) {
		now := time.Now()
		for _, line := range []string{"aaa", "bbb", "ccc"} {
			write(t, x.path, line)
			must(t, os.Chtimes(x.path, now, now))
			time.Sleep(config.Poll)
			synctest.Wait()
			x.expect(t, reload.Replaced, nil)
			if got := x.Current(); got != line {
				t.Errorf("got %q, want %q", got, line)
			}
		}
	})
}

// A version that is only too early comes into use when its time has come, and
// is not prepared before.
func TestAcceptIsAskedAgain(t *testing.T) {
	t.Parallel()
	errEarly := errors.New("too early")
	var accepted [2]string
	var prepared []string
	config := reload.Config[string]{
		Accept: func(old, next string) error {
			// The clock of a bubble starts with the year 2000.
			if time.Now().Before(time.Date(2000, 1, 1, 0, 5, 0, 0, time.UTC)) {
				return errEarly
			}
			accepted = [2]string{old, next}
			return nil
		},
		Prepare: func(next string) error {
			prepared = append(prepared, next)
			return nil
		},
	}
	polled(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "two")
		polls(20)
		x.expect(t, reload.Refused, errEarly)
		x.silent(t)
		if got, status := x.Current(), x.Status(); got != "one" || status.Refusals != 1 {
			t.Errorf("got %q and the status %+v, want the old version and one refusal", got, status)
		}
		if !slices.Equal(prepared, []string{"one"}) {
			t.Errorf("while it is refused, %q were prepared", prepared)
		}
		polls(20)
		x.expect(t, reload.Replaced, nil)
		x.silent(t)
		if got := x.Current(); got != "two" || accepted != [2]string{"one", "two"} {
			t.Errorf("got %q, and Accept was asked about %q", got, accepted)
		}
		if !slices.Equal(prepared, []string{"one", "two"}) {
			t.Errorf("%q were prepared, want each version once", prepared)
		}
	})
}

// What the file is not to blame for is tried again without a change of it.
func TestTransientIsLoadedAgain(t *testing.T) {
	t.Parallel()
	errAway := errors.New("the device is away")
	var away atomic.Bool
	away.Store(true)
	config := reload.Config[string]{Load: func(r io.Reader) (string, error) {
		line, err := load(r)
		if err == nil && line == "two" && away.Load() {
			return "", fmt.Errorf("opening: %w", reload.Transient(errAway))
		}
		return line, err
	}}
	polled(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "two")
		polls(20)
		x.expect(t, reload.Refused, errAway)
		x.silent(t)
		if got, status := x.Current(), x.Status(); got != "one" || status.Refusals != 1 || status.Err.Error() != "opening: the device is away" {
			t.Errorf("got %q and the status %+v, want the old version and one refusal", got, status)
		}
		away.Store(false)
		polls(1)
		x.expect(t, reload.Replaced, nil)
		if got, status := x.Current(), x.Status(); got != "two" || status.Err != nil {
			t.Errorf("got %q and the status %+v, want the new version", got, status)
		}
	})
	if err := reload.Transient(nil); err != nil {
		t.Errorf("no error, marked: got %v, want nil", err)
	}
}

// In a bubble a test does not end before its last goroutine. This one uses a
// real watch, whose goroutine must be gone too. As that one waits for the real
// world, the bubble's clock stands still: nothing here may depend on it.
func TestRunLeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, reload.Config[string]{})
		replace(t, path, "two")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		if event := x.next(t); event.Kind != reload.Replaced {
			t.Errorf("got the event %v, %v", event.Kind, event.Err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got the error %v, want none", err)
		}
		x.silent(t)
	})
}

// The end of the program does not wait until a large file is loaded.
func TestRunEndsWhileLoading(t *testing.T) {
	t.Parallel()
	loading := make(chan struct{})
	endless := false
	path := newFile(t, "one")
	x := open(t, path, reload.Config[string]{Load: func(r io.Reader) (string, error) {
		if !endless {
			return load(r)
		}
		close(loading)
		for {
			// Nothing is left to read but the end of the context.
			if _, err := r.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
				return "", err
			}
		}
	}})
	endless = true
	replace(t, path, "two")
	stop := x.start(t)
	<-loading
	stop()
	if got, status := x.Current(), x.Status(); got != "one" || status.Refusals != 0 {
		t.Errorf("got %q and the status %+v, want no change", got, status)
	}
	x.silent(t)
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	polled(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
		synctest.Wait()
		if err := x.Run(t.Context()); err == nil {
			t.Error("a second Run beside the first one is accepted")
		}
	})
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, reload.Config[string]{})
		reload.Unwatch(x.File)
		for range 2 {
			x.start(t)()
		}
	})
}
