package keys_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/customersession/customersession/keys"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	m := parse(t, golden(t))
	newer := m.Clone()
	newer.Version++

	check := func(want *keys.Manifest) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(data, want.Encode()) {
			t.Errorf("got %s, %v, want version %d", data, err, want.Version)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("got %v, %v, want the one file", entries, err)
		}
	}

	if err := keys.CreateFile(path, m); err != nil {
		t.Fatal(err)
	}
	check(m)
	if err := keys.CreateFile(path, newer); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: got %v, want %v", err, fs.ErrExist)
	}
	check(m)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := keys.WriteFile(path, newer); err != nil {
		t.Fatal(err)
	}
	check(newer)

	invalid := newer.Clone()
	invalid.Version = 0
	if err := keys.WriteFile(path, invalid); err == nil {
		t.Error("an invalid manifest was written")
	}
	check(newer)
	nowhere := filepath.Join(dir, "missing", "keys.json")
	if err := errors.Join(keys.WriteFile(nowhere, m)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if err := keys.CreateFile(nowhere, m); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestWriteFileIsAtomic reads while it is written.
func TestWriteFileIsAtomic(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	m := parse(t, golden(t)).Clone()
	if err := keys.CreateFile(path, m); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for range 20 {
			m.Version++
			if err := keys.WriteFile(path, m); err != nil {
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
		parse(t, data)
	}
}
