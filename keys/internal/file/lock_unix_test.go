//go:build unix

package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/internal/file"
)

// TestFileWaitsForLock: while another command holds the lock nothing is written,
// and a writer that waits too long reports why.
func TestFileWaitsForLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := file.New(filepath.Join(dir, "keys.json"))
	m := newManifest(t)
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("it took too long"))
	defer cancel()
	err = store.Write(impatient, m, "")
	if err == nil || !strings.Contains(err.Error(), "which another command holds: it took too long") {
		t.Errorf("got %v, want it to say that another command is at work", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys.json")); !os.IsNotExist(err) {
		t.Errorf("got %v, want nothing to be written", err)
	}
	written := make(chan error, 1)
	go func() { written <- store.Write(t.Context(), m, "") }()
	if err := folder.Close(); err != nil { // which gives the lock back
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Errorf("got %v, want it to go on when the lock is free", err)
	}
}
