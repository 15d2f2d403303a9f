package reload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// running runs a test on a file that Run follows on the clock of a bubble. The
// test begins between two looks.
func running(t *testing.T, config reload.Config[string], test func(t *testing.T, x *fixture)) {
	t.Helper()
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, config)
		x.start(t)
		time.Sleep(time.Second / 2)
		synctest.Wait()
		test(t, x)
	})
}

// looks lets n seconds pass, with a look at the file in each.
func looks(n int) {
	time.Sleep(time.Duration(n) * time.Second)
	synctest.Wait()
}

// expect checks the next event, which must have happened already.
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
	running(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		write(t, x.path, "broken")
		looks(1)
		x.expect(t, reload.Refused, errBroken)
		for i := range 5 {
			looks(1)
			touched := time.Now().Add(time.Duration(i) * time.Hour)
			must(t, os.Chtimes(x.path, touched, touched))
		}
		looks(10)
		x.silent(t)
		if got := loads.Load(); got != 2 {
			t.Errorf("%d loads, want 2: a bad version need not be loaded again", got)
		}
		if err := x.Status().Err; !errors.Is(err, errBroken) {
			t.Errorf("got the status %v, want the reason", err)
		}
		write(t, x.path, "still broken")
		looks(10)
		x.expect(t, reload.Refused, errBroken)
		x.silent(t)
	})
}

func TestRestoredVersion(t *testing.T) {
	t.Parallel()
	count, loads := counted()
	running(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		write(t, x.path, "broken")
		looks(1)
		x.expect(t, reload.Refused, errBroken)
		write(t, x.path, "one")
		looks(5)
		x.expect(t, reload.Restored, nil)
		x.silent(t)
		if err := x.Status().Err; err != nil {
			t.Errorf("got the status %v, want no error", err)
		}
		if got := loads.Load(); got != 2 {
			t.Errorf("%d loads, want 2: the version in use need not be loaded again", got)
		}
	})
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	running(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
		must(t, os.Remove(x.path))
		looks(5)
		x.expect(t, reload.Refused, os.ErrNotExist)
		x.silent(t)
		write(t, x.path, "one")
		looks(1)
		x.expect(t, reload.Restored, nil)
		must(t, os.Remove(x.path))
		looks(1)
		x.expect(t, reload.Refused, os.ErrNotExist)
		write(t, x.path, "two")
		looks(1)
		x.expect(t, reload.Replaced, nil)
		if got := x.Current(); got != "two" {
			t.Errorf("got %q, want %q", got, "two")
		}
	})
}

func TestTouchedFileIsNotLoaded(t *testing.T) {
	t.Parallel()
	count, loads := counted()
	running(t, reload.Config[string]{Load: count}, func(t *testing.T, x *fixture) {
		for range 5 {
			now := time.Now()
			must(t, os.Chtimes(x.path, now, now))
			looks(1)
			replace(t, x.path, "one")
			looks(1)
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
	running(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
		now := time.Now()
		for _, line := range []string{"aaa", "bbb", "ccc"} {
			write(t, x.path, line)
			must(t, os.Chtimes(x.path, now, now))
			looks(1)
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
	prepared := make(chan string, 10)
	config := reload.Config[string]{
		Accept: func(old, next string) error {
			// The clock of a bubble starts with the year 2000.
			if time.Now().Before(time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC)) {
				return errEarly
			}
			accepted = [2]string{old, next}
			return nil
		},
		Prepare: func(next string) error {
			prepared <- next
			return nil
		},
	}
	running(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "two")
		looks(20)
		x.expect(t, reload.Refused, errEarly)
		x.silent(t)
		if got, err := x.Current(), x.Status().Err; got != "one" || !errors.Is(err, errEarly) {
			t.Errorf("got %q and the status %v, want the old version and the reason", got, err)
		}
		if len(prepared) != 1 || <-prepared != "one" {
			t.Error("a version that is refused was prepared")
		}
		looks(20)
		x.expect(t, reload.Replaced, nil)
		x.silent(t)
		if got := x.Current(); got != "two" || accepted != [2]string{"one", "two"} {
			t.Errorf("got %q, and Accept was asked about %q", got, accepted)
		}
		if len(prepared) != 1 || <-prepared != "two" {
			t.Error("the version in use was not prepared, or more than once")
		}
	})
}

// A version refused for a passing reason is loaded again without a change.
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
	running(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "two")
		looks(20)
		x.expect(t, reload.Refused, errAway)
		x.silent(t)
		if got, err := x.Current(), x.Status().Err; got != "one" || err == nil || err.Error() != "opening: the device is away" {
			t.Errorf("got %q and the status %v, want the old version and the reason", got, err)
		}
		away.Store(false)
		looks(6)
		x.expect(t, reload.Replaced, nil)
		if got, status := x.Current(), x.Status(); got != "two" || status.Err != nil {
			t.Errorf("got %q and the status %+v, want the new version", got, status)
		}
	})
	if err := reload.Transient(nil); err != nil {
		t.Errorf("no error, marked: got %v, want nil", err)
	}
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
	if got, err := x.Current(), x.Status().Err; got != "one" || err != nil {
		t.Errorf("got %q and the status %v, want no change", got, err)
	}
	x.silent(t)
}

// Load may stop where it likes; what it leaves unread still belongs to the
// version.
func TestChangeOfUnreadPart(t *testing.T) {
	t.Parallel()
	config := reload.Config[string]{Load: func(r io.Reader) (string, error) {
		head := make([]byte, 3)
		_, err := io.ReadFull(r, head)
		return string(head), err
	}}
	running(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "one, more")
		looks(1)
		x.expect(t, reload.Replaced, nil)
		write(t, x.path, "one, less")
		looks(5)
		x.expect(t, reload.Replaced, nil)
		x.silent(t)
	})
}

func TestChangeWhileTheFileIsRead(t *testing.T) {
	t.Parallel()
	var path string
	writing := false
	config := reload.Config[string]{Load: func(r io.Reader) (string, error) {
		if writing {
			write(t, path, "two, the second half")
		}
		return load(r)
	}}
	running(t, config, func(t *testing.T, x *fixture) {
		path, writing = x.path, true
		write(t, path, "two, the first half")
		looks(1)
		if event := x.next(t); event.Kind != reload.Refused || !strings.Contains(event.Err.Error(), "changed while it was read") {
			t.Errorf("got the event %v, %v, want that the file changed", event.Kind, event.Err)
		}
		if got := x.Current(); got != "one" {
			t.Errorf("got %q, want the old version", got)
		}
		looks(1)
		x.expect(t, reload.Replaced, nil)
		if got := x.Current(); got != "two, the second half" {
			t.Errorf("got %q, want the new version", got)
		}
	})
}

// Readers never wait for Run, and never see half a version.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	running(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
		var readers sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			readers.Go(func() {
				for ctx.Err() == nil {
					if got := strings.ReplaceAll(x.Current(), "version ", ""); got != "one" && got != "" {
						t.Errorf("got %q", got)
					}
					x.Status()
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 25 {
			replace(t, x.path, strings.Repeat("version ", i+1))
			x.becomes(t, strings.Repeat("version ", i+1))
		}
		cancel()
		readers.Wait()
	})
}
