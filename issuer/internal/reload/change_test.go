package reload_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// way is one of the ways in which files are replaced.
type way struct {
	name string
	// place makes the file in an empty folder and returns its path.
	place func(t *testing.T, folder, line string) (path string)
	// change gives it a new line.
	change func(t *testing.T, path, line string)
}

func ways() []way {
	plain := func(t *testing.T, folder, line string) string {
		t.Helper()
		path := filepath.Join(folder, "file.txt")
		write(t, path, line)
		return path
	}
	return []way{
		{"renamed over", plain, replace},
		{"written in place", plain, write},
		{"removed and made again", plain, func(t *testing.T, path, line string) {
			t.Helper()
			must(t, os.Remove(path))
			write(t, path, line)
		}},
		{"folder of a Kubernetes volume", placeVolume, changeVolume},
		{"link to a file that is renamed over", placeLink, changeTarget},
		{"link that is renamed over", placeLink, changeLink},
		{"folder removed and made again", plain, func(t *testing.T, path, line string) {
			t.Helper()
			must(t, os.RemoveAll(filepath.Dir(path)))
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			write(t, path, line)
		}},
	}
}

// placeVolume lays a file out as kubelet's AtomicWriter does: file.txt leads to
// ..data/file.txt, and ..data to a folder that is never written again.
func placeVolume(t *testing.T, folder, line string) string {
	t.Helper()
	changeVolume(t, filepath.Join(folder, "file.txt"), line)
	must(t, os.Symlink(filepath.Join("..data", "file.txt"), filepath.Join(folder, "file.txt")))
	return filepath.Join(folder, "file.txt")
}

// changeVolume makes a new folder, renames a link to it over ..data, and
// removes the old folder.
func changeVolume(t *testing.T, path, line string) {
	t.Helper()
	volume := filepath.Dir(path)
	data := filepath.Join(volume, "..data")
	old, _ := os.Readlink(data) // none yet at first
	folder, err := os.MkdirTemp(volume, "..2026_")
	must(t, err)
	write(t, filepath.Join(folder, "file.txt"), line)
	must(t, os.Symlink(filepath.Base(folder), data+"_tmp"))
	must(t, os.Rename(data+"_tmp", data))
	if old != "" {
		must(t, os.RemoveAll(filepath.Join(volume, old)))
	}
}

// placeLink makes a link to a file in another folder.
func placeLink(t *testing.T, folder, line string) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "target.txt")
	write(t, target, line)
	must(t, os.Symlink(target, filepath.Join(folder, "file.txt")))
	return filepath.Join(folder, "file.txt")
}

// changeTarget renames a new file over the one that a link leads to.
func changeTarget(t *testing.T, path, line string) {
	t.Helper()
	target, err := os.Readlink(path)
	must(t, err)
	replace(t, target, line)
}

// changeLink makes a link lead to a new file in another folder.
func changeLink(t *testing.T, path, line string) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "target.txt")
	write(t, target, line)
	must(t, os.Symlink(target, path+".new"))
	must(t, os.Rename(path+".new", path))
}

// follow checks that good versions come into use and bad ones do not, however
// many times the file changes.
func (w way) follow(t *testing.T, x *fixture) {
	t.Helper()
	for _, line := range []string{"two", "three"} {
		w.change(t, x.path, line)
		x.becomes(t, line)
	}
	w.change(t, x.path, "a broken version")
	x.refuses(t, "a broken version")
	if got := x.Current(); got != "three" {
		t.Errorf("beside a broken file: got %q, want %q", got, "three")
	}
	w.change(t, x.path, "four")
	x.becomes(t, "four")
	if err := x.Status().Err; err != nil {
		t.Errorf("status after a good version: %v", err)
	}
}

func TestWatching(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		if way.name == "folder removed and made again" {
			continue // the watch goes with the folder; polling finds the new one
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			path := way.place(t, t.TempDir(), "one")
			x := open(t, path, reload.Config[string]{Poll: time.Hour})
			x.start(t)
			// The watch is on at the latest when this has been seen.
			way.change(t, path, "watching")
			x.becomes(t, "watching")
			way.follow(t, x)
		})
	}
}

func TestPolling(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "folder")
			must(t, os.Mkdir(folder, 0o700))
			path := way.place(t, folder, "one")
			synctest.Test(t, func(t *testing.T) {
				x := open(t, path, reload.Config[string]{})
				reload.Unwatch(x.File)
				x.start(t)
				if event := x.next(t); event.Kind != reload.Unwatched || event.Err == nil {
					t.Errorf("first event: got %v, %v, want unwatched and why", event.Kind, event.Err)
				}
				began := time.Now()
				way.follow(t, x)
				if took := time.Since(began); took > 40*time.Second {
					t.Errorf("4 changes were seen after %v, want at most 10s each", took)
				}
			})
		})
	}
}

// A folder that was removed is watched again once it is back.
func TestWatchingRenewedFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "folder")
	must(t, os.Mkdir(folder, 0o700))
	path := filepath.Join(folder, "file.txt")
	write(t, path, "one")
	x := open(t, path, reload.Config[string]{Poll: 50 * time.Millisecond})
	x.start(t)
	for _, line := range []string{"two", "three"} {
		must(t, os.RemoveAll(folder))
		x.refuses(t, "no such file")
		must(t, os.Mkdir(folder, 0o700))
		write(t, path, line)
		x.becomes(t, line)
	}
}

// What changed between Open and Run is seen at once.
func TestChangeBeforeRun(t *testing.T) {
	t.Parallel()
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, reload.Config[string]{Poll: time.Hour})
		reload.Unwatch(x.File)
		replace(t, path, "two")
		began := time.Now()
		x.start(t)
		x.becomes(t, "two")
		if took := time.Since(began); took > time.Second {
			t.Errorf("seen after %v", took)
		}
	})
}
