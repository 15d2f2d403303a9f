package revocations_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// TestFileFull: on a full disk nothing that was acknowledged is lost, nothing is
// left half-written, and appending goes on as soon as there is room.
func TestFileFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		needs.Missing(t, "the right to mount", "run as root")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=48k"); err != nil {
		needs.Missing(t, "a small file system", "allow mount: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "revocations.jsonl")
	initFile(t, path)
	log := revocations.NewFile(path)
	defer log.Close()
	reader := revocations.NewFile(path)
	defer reader.Close()
	var want []string
	for i := 0; ; i++ {
		id := strconv.Itoa(i)
		_, err := log.Append(t.Context(), session(id))
		if err == nil {
			want = append(want, id)
			continue
		}
		if !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("after %d entries: %v", i, err)
		}
		break
	}
	if text := contents(t, path); len(want) < 100 || !bytes.HasSuffix(text, []byte("\n")) || bytes.Count(text, []byte("\n")) != len(want)+1 {
		t.Errorf("the file of %d entries has %d lines and ends in %q", len(want), bytes.Count(text, []byte("\n")), text[len(text)-20:])
	}
	full := readFrom(t, reader, revocations.Position{})
	if !slices.Equal(ids(full.Records), want) {
		t.Errorf("full, the log has %d entries, want %d", len(full.Records), len(want))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, session("room"))
	if page := readFrom(t, reader, full.Position); page.Complete || !slices.Equal(ids(page.Records), []string{"room"}) {
		t.Errorf("with room again, there is %v", page)
	}
}
