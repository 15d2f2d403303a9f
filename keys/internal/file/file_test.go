package file_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/internal/file"
)

func newManifest(t *testing.T) *keys.Manifest {
	t.Helper()
	m, err := keys.Init(keys.DefaultPolicy(), time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func clone(t *testing.T, m *keys.Manifest) *keys.Manifest {
	t.Helper()
	c, err := keys.ParseManifest(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// held returns what the store holds, and its revision.
func held(t *testing.T, store *file.Store) (m *keys.Manifest, revision string) {
	t.Helper()
	m, revision, err := store.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m, revision
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	store := file.New(path)
	m := newManifest(t)
	newer := clone(t, m)
	newer.Version++

	// check wants these versions in the file and beside it, and nothing else.
	check := func(want ...*keys.Manifest) {
		t.Helper()
		for i, name := range []string{path, path + ".previous"}[:len(want)] {
			data, err := os.ReadFile(name)
			if err != nil || !bytes.Equal(data, want[i].Encode()) {
				t.Errorf("%s: got %s, %v, want version %d", name, data, err, want[i].Version)
			}
			info, err := os.Stat(name)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: got mode %v, %v, want 0600", name, info.Mode(), err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(want) {
			t.Errorf("got %v, %v, want %d files", entries, err, len(want))
		}
	}

	if _, _, err := store.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading nothing: got %v, want %v", err, fs.ErrNotExist)
	}
	if err := store.Write(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	check(m)
	if err := store.Write(t.Context(), newer, ""); !errors.Is(err, fs.ErrExist) || !errors.Is(err, keys.ErrConflict) {
		t.Errorf("creating it again: got %v, want %v", err, fs.ErrExist)
	}
	check(m)
	_, read := held(t, store)
	if err := store.Write(t.Context(), newer, read); err != nil {
		t.Fatal(err)
	}
	check(newer, m)
	if err := store.Write(t.Context(), m, read); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("writing with an old revision: got %v, want %v", err, keys.ErrConflict)
	}
	check(newer, m)

	invalid := clone(t, newer)
	invalid.Version = 0
	_, read = held(t, store)
	if err := store.Write(t.Context(), invalid, read); err == nil {
		t.Error("an invalid manifest was written")
	}
	check(newer, m)
	nowhere := file.New(filepath.Join(dir, "missing", "keys.json"))
	if err := nowhere.Write(t.Context(), m, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := store.Write(t.Context(), newer, read); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("writing over a file that is gone: got %v, want %v", err, keys.ErrConflict)
	}
}

func TestFileOfOthers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	store := file.New(path)
	m := newManifest(t)
	if err := store.Write(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: got %v, want it refused", mode, err)
		}
	}
	// A public copy is for everybody.
	for _, k := range m.Keys {
		k.Private = nil
	}
	if err := os.WriteFile(path, m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Read(t.Context()); err != nil {
		t.Errorf("public copy: got %v, want none", err)
	}
	// A public key that a stranger adds is published like one of ours.
	if err := os.Chmod(path, 0o646); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("public copy that everyone may change: got %v, want it refused", err)
	}
}

func TestFileBehindLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "keys.json"), filepath.Join(t.TempDir(), "link.json")
	m := newManifest(t)
	if err := file.New(path).Write(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	store := file.New(link)
	newer := clone(t, m)
	newer.Version++
	_, read := held(t, store)
	if err := store.Write(t.Context(), newer, read); err != nil {
		t.Fatal(err)
	}
	if got, _ := held(t, file.New(path)); got.Version != newer.Version {
		t.Errorf("got version %d behind the link, want %d", got.Version, newer.Version)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
}

// TestFileWritersTakeTurns: of several writers that read the same version, one
// writes.
func TestFileWritersTakeTurns(t *testing.T) {
	t.Parallel()
	const writers, rounds = 8, 5
	path := filepath.Join(t.TempDir(), "keys.json")
	m := newManifest(t)
	if err := file.New(path).Write(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		_, read := held(t, file.New(path))
		results := make(chan error, writers)
		for i := range writers {
			next := clone(t, m)
			next.Version += 1 + round*writers + i
			go func() { results <- file.New(path).Write(t.Context(), next, read) }()
		}
		written := 0
		for range writers {
			switch err := <-results; {
			case err == nil:
				written++
			case !errors.Is(err, keys.ErrConflict):
				t.Error(err)
			}
		}
		if written != 1 {
			t.Errorf("%d of %d writers wrote, want one", written, writers)
		}
	}
}

// TestFileIsAtomic reads while it is written.
func TestFileIsAtomic(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	store := file.New(path)
	m := newManifest(t)
	if err := store.Write(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for range 20 {
			_, read, err := store.Read(t.Context())
			m.Version++
			if err := errors.Join(err, store.Write(t.Context(), m, read)); err != nil {
				done <- err
				return
			}
		}
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.ParseManifest(data); err != nil {
			t.Fatal(err)
		}
	}
}
