package reload_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	before := time.Now()
	x := open(t, newFile(t, "one"), reload.Config[string]{
		Accept: func(_, _ string) error { return errors.New("nothing to compare with") },
	})
	if got := x.Current(); got != "one" {
		t.Errorf("got %q, want %q", got, "one")
	}
	status := x.Status()
	if status.Loads != 1 || status.Refusals != 0 || status.Err != nil {
		t.Errorf("got the status %+v, want one load", status)
	}
	if status.LoadedAt.Before(before) || status.LoadedAt.After(time.Now()) {
		t.Errorf("loaded at %v, want now", status.LoadedAt)
	}
	x.silent(t)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	loop := filepath.Join(t.TempDir(), "loop")
	must(t, os.Symlink(loop, loop))
	good := newFile(t, "one")
	tests := []struct {
		name   string
		config reload.Config[string]
		want   string
	}{
		{"no path", reload.Config[string]{Load: load}, "Config.Path is empty"},
		{"no function", reload.Config[string]{Path: good}, "Config.Load is nil"},
		{"negative poll", reload.Config[string]{Path: good, Load: load, Poll: -1}, "Config.Poll is negative"},
		{"no file", reload.Config[string]{Path: good + "x", Load: load}, "no such file"},
		{"folder", reload.Config[string]{Path: t.TempDir(), Load: load}, "is not a regular file"},
		{"named pipe", reload.Config[string]{Path: fifo, Load: load}, "is not a regular file"},
		{"link to itself", reload.Config[string]{Path: loop, Load: load}, "too many levels of symbolic links"},
		{"bad version", reload.Config[string]{Path: newFile(t, "broken"), Load: load}, "broken"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file, err := reload.Open(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want %q", err, test.want)
			}
			if file != nil {
				t.Error("got a file beside the error")
			}
		})
	}
	if _, err := reload.Open(reload.Config[string]{Path: newFile(t, "broken"), Load: load}); !errors.Is(err, errBroken) {
		t.Errorf("the cause is lost in %v", err)
	}
	_, err := reload.Open(reload.Config[string]{})
	if err == nil || !strings.Contains(err.Error(), "Path") || !strings.Contains(err.Error(), "Load") {
		t.Errorf("not all problems are named in %v", err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	var loads atomic.Int64
	path := newFile(t, "one")
	x := open(t, path, reload.Config[string]{Load: func(r io.Reader) (string, error) {
		loads.Add(1)
		return load(r)
	}})
	steps := []struct {
		name, line, current string
		kind                reload.Kind
		status              reload.Status
	}{
		{"unchanged", "one", "one", reload.Replaced, reload.Status{Loads: 2}},
		{"new version", "two", "two", reload.Replaced, reload.Status{Loads: 3}},
		{"bad version", "broken", "two", reload.Refused, reload.Status{Loads: 3, Refusals: 1}},
		{"the same bad version", "broken", "two", reload.Refused, reload.Status{Loads: 3, Refusals: 1}},
		{"another bad version", "too broken", "two", reload.Refused, reload.Status{Loads: 3, Refusals: 2}},
		{"good again", "two", "two", reload.Replaced, reload.Status{Loads: 4, Refusals: 2}},
	}
	for i, step := range steps {
		write(t, path, step.line)
		err := x.Reload(t.Context())
		if refused := step.kind == reload.Refused; errors.Is(err, errBroken) != refused {
			t.Errorf("%s: got the error %v", step.name, err)
		}
		if got := loads.Load(); got != int64(i+2) {
			t.Errorf("%s: %d loads, want %d", step.name, got, i+2)
		}
		if got := x.Current(); got != step.current {
			t.Errorf("%s: got %q, want %q", step.name, got, step.current)
		}
		event := x.next(t)
		if event.Kind != step.kind || !errors.Is(event.Err, err) {
			t.Errorf("%s: got the event %v, %v", step.name, event.Kind, event.Err)
		}
		got := x.Status()
		if got.Loads != step.status.Loads || got.Refusals != step.status.Refusals || !errors.Is(got.Err, err) {
			t.Errorf("%s: got the status %+v, want %+v and the error %v", step.name, got, step.status, err)
		}
		if !event.LoadedAt.Equal(got.LoadedAt) {
			t.Errorf("%s: event says loaded at %v, status %v", step.name, event.LoadedAt, got.LoadedAt)
		}
	}
}

// Load may stop where it likes; what it left unread is still a change.
func TestReloadOfUnreadPart(t *testing.T) {
	t.Parallel()
	path := newFile(t, "head, one")
	x := open(t, path, reload.Config[string]{Load: func(r io.Reader) (string, error) {
		head := make([]byte, 4)
		_, err := io.ReadFull(r, head)
		return string(head), err
	}})
	write(t, path, "head, two")
	must(t, x.Reload(t.Context()))
	if got := x.Current(); got != "head" {
		t.Errorf("got %q", got)
	}
}

func TestReloadWhileTheFileIsWritten(t *testing.T) {
	t.Parallel()
	path := newFile(t, "one")
	writing := false
	x := open(t, path, reload.Config[string]{Load: func(r io.Reader) (string, error) {
		if writing {
			write(t, path, "two, the second half")
		}
		return load(r)
	}})
	write(t, path, "two, the first half")
	writing = true
	if err := x.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("got the error %v, want that the file changed", err)
	}
	if got := x.Current(); got != "one" {
		t.Errorf("got %q, want the old version", got)
	}
	writing = false
	must(t, x.Reload(t.Context()))
	if got := x.Current(); got != "two, the second half" {
		t.Errorf("got %q, want the new version", got)
	}
}

func TestReloadCancelled(t *testing.T) {
	t.Parallel()
	path := newFile(t, "one")
	onLoad := func() {}
	x := open(t, path, reload.Config[string]{Load: func(r io.Reader) (string, error) {
		onLoad()
		return load(r)
	}})
	write(t, path, "two")

	ctx, cancel := context.WithCancel(t.Context())
	onLoad = cancel
	for _, when := range []string{"during the load", "before"} {
		if err := x.Reload(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled %s: got the error %v, want that of the context", when, err)
		}
		if got, status := x.Current(), x.Status(); got != "one" || status.Err != nil || status.Refusals != 0 {
			t.Errorf("cancelled %s: got %q and the status %+v, want no change", when, got, status)
		}
		x.silent(t)
	}
	must(t, x.Reload(t.Context()))
	if got := x.Current(); got != "two" {
		t.Errorf("got %q, want %q", got, "two")
	}
}

// Reloads and the goroutine of Run never load at the same time, and readers
// never wait for them.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	path := newFile(t, "version 0")
	var loading atomic.Int32
	x := open(t, path, reload.Config[string]{
		Poll: time.Millisecond,
		Load: func(r io.Reader) (string, error) {
			if loading.Add(1) != 1 {
				t.Error("two loads at the same time")
			}
			defer loading.Add(-1)
			return load(r)
		},
	})
	stop := x.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if got := x.Current(); !strings.HasPrefix(got, "version ") {
					t.Errorf("got %q", got)
					return
				}
				x.Status()
			}
		})
		writers.Go(func() {
			for range 25 {
				if err := x.Reload(ctx); err != nil {
					t.Errorf("reloading: %v", err)
				}
			}
		})
	}
	writers.Go(func() {
		for i := range 25 {
			replace(t, path, strings.Repeat("version ", i+1))
		}
	})
	writers.Wait()
	must(t, x.Reload(ctx))
	if got, want := x.Current(), strings.Repeat("version ", 25); got != want {
		t.Errorf("at last: got %q, want %q", got, want)
	}
	cancel()
	readers.Wait()
	stop()
}

func TestKindString(t *testing.T) {
	t.Parallel()
	for kind, want := range map[reload.Kind]string{
		reload.Replaced: "replaced", reload.Refused: "refused",
		reload.Restored: "restored", reload.Unwatched: "unwatched", 0: "unknown",
	} {
		if got := kind.String(); got != want {
			t.Errorf("kind %d: got %q, want %q", kind, got, want)
		}
	}
}

func BenchmarkCurrent(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file.txt")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := reload.Open(reload.Config[string]{Path: path, Load: load})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if file.Current() == "" {
				b.Error("no value")
			}
		}
	})
}

// BenchmarkReload shows what comparing contents adds to loading: the file is
// read twice and hashed twice, the loader here does next to nothing.
func BenchmarkReload(b *testing.B) {
	const size = 64 << 20
	path := filepath.Join(b.TempDir(), "file.txt")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := reload.Open(reload.Config[int64]{
		Path: path,
		Load: func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := file.Reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
