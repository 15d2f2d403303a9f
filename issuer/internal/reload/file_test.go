package reload_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
	if status.Err != nil {
		t.Errorf("got the status %v, want no error", status.Err)
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

func TestKindString(t *testing.T) {
	t.Parallel()
	for kind, want := range map[reload.Kind]string{
		reload.Replaced: "replaced", reload.Refused: "refused",
		reload.Restored: "restored", 0: "unknown",
	} {
		if got := kind.String(); got != want {
			t.Errorf("kind %d: got %q, want %q", kind, got, want)
		}
	}
}

// BenchmarkLook shows what following an unchanged file costs each second.
func BenchmarkLook(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file.txt")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := reload.Open(reload.Config[string]{Path: path, Load: load})
	if err != nil {
		b.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		reload.Look(b.Context(), file)
	}
}
