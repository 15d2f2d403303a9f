package reload_test

import (
	"os"
	"path/filepath"
	"strings"
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

// However a file is replaced, the change is seen within a second, and the time
// that a file needs to settle.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "folder")
			must(t, os.Mkdir(folder, 0o700))
			path := way.place(t, folder, "one")
			synctest.Test(t, func(t *testing.T) {
				x := open(t, path, reload.Config[string]{})
				x.start(t)
				began := time.Now()
				way.follow(t, x)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("4 changes were seen after %v, want at most 1.25s each", took)
				}
			})
		})
	}
}

// A change between Open and Run is seen as soon as Run begins.
func TestChangeBeforeRun(t *testing.T) {
	t.Parallel()
	path := newFile(t, "one")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path, reload.Config[string]{})
		replace(t, path, "two")
		began := time.Now()
		x.start(t)
		x.becomes(t, "two")
		if took := time.Since(began); took > time.Second/2 {
			t.Errorf("seen after %v", took)
		}
	})
}

// A file that is being written is not read before the writer is done, unless
// that takes long.
func TestChangeInSteps(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps int // of 50 ms
		first reload.Kind
	}{
		"half a second": {10, reload.Replaced},
		"ten seconds":   {200, reload.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running(t, reload.Config[string]{}, func(t *testing.T, x *fixture) {
				t.Helper()
				for i := range test.steps {
					must(t, os.WriteFile(x.path, []byte(strings.Repeat("half a line, ", i+1)), 0o600))
					time.Sleep(50 * time.Millisecond)
				}
				write(t, x.path, "two")
				if got := x.next(t); got.Kind != test.first {
					t.Errorf("the first event is %v %v, want %v", got.Kind, got.Err, test.first)
				}
				x.becomes(t, "two")
			})
		})
	}
}
