//go:build unix

package fileaccess_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/fileaccess"
)

// place makes a file in a folder of a folder, and gives all three their modes.
func place(t *testing.T, outer, inner, file fs.FileMode) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "outer", "inner")
	path := filepath.Join(folder, "file")
	err := errors.Join(
		os.MkdirAll(folder, 0o700), os.WriteFile(path, nil, 0o600),
		os.Chmod(path, file), os.Chmod(folder, inner), os.Chmod(filepath.Dir(folder), outer),
	)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckWrite(t *testing.T) {
	t.Parallel()
	const sticky = fs.ModeSticky
	for _, test := range []struct {
		name               string
		outer, inner, file fs.FileMode
		want               string
	}{
		{"owner's", 0o700, 0o700, 0o600, ""},
		{"of a group", 0o770, 0o2770 | fs.ModeSetgid, 0o660, ""},
		{"for all to read", 0o755, 0o755, 0o644, ""},
		{"for all to write", 0o700, 0o700, 0o666, "file has mode 0666: everyone may change it"},
		{"folder", 0o700, 0o777, 0o600, "inner has mode 0777: everyone may change it"},
		{"folder further up", 0o703, 0o700, 0o600, "outer has mode 0703: everyone may change it"},
		{"folder with the sticky bit", 0o700, 0o777 | sticky, 0o600, ""},
		{"for all to write, sticky", 0o700, 0o700, 0o602 | sticky, "file has mode 0602"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := place(t, test.outer, test.inner, test.file)
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(path, link); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{path, link} {
				err := fileaccess.CheckWrite(path)
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("%s: got %v, want %q", path, err, test.want)
				}
			}
		})
	}
}

// Who may change a link may lead the server elsewhere.
func TestCheckWriteOfALink(t *testing.T) {
	t.Parallel()
	target := place(t, 0o700, 0o700, 0o600)
	link := filepath.Join(filepath.Dir(place(t, 0o700, 0o700, 0o600)), "link")
	if err := errors.Join(os.Symlink(target, link), os.Chmod(filepath.Dir(link), 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := fileaccess.CheckWrite(link); err == nil || !strings.Contains(err.Error(), "inner has mode 0777") {
		t.Errorf("got %v, want it about the folder", err)
	}
	if err := fileaccess.CheckWrite(link + "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// The folders between two links count as well, also those of links to folders.
func TestCheckWriteOfALinkToALink(t *testing.T) {
	t.Parallel()
	file, middle := place(t, 0o700, 0o700, 0o600), filepath.Dir(place(t, 0o700, 0o700, 0o600))
	first, folder := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "folder")
	err := errors.Join(
		os.Symlink(file, filepath.Join(middle, "link")), os.Symlink(filepath.Join(middle, "link"), first),
		os.Symlink(filepath.Dir(file), filepath.Join(middle, "folder")), os.Symlink(middle, folder),
	)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{first, filepath.Join(folder, "folder", "file"), filepath.Join(folder, "folder") + "/../inner/./file"}
	for _, path := range paths {
		if err := fileaccess.CheckWrite(path); err != nil {
			t.Errorf("%s: got %v, want no error", path, err)
		}
	}
	if err := os.Chmod(middle, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if err := fileaccess.CheckWrite(path); err == nil || !strings.Contains(err.Error(), middle+" has mode 0777") {
			t.Errorf("%s: got %v, want it about the folder between", path, err)
		}
	}
}

func TestCheckRead(t *testing.T) {
	t.Parallel()
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o440: "", 0o644: "everyone may read it, as its mode is 0644", 0o604: "0604"} {
		err := fileaccess.CheckRead(place(t, 0o700, 0o700, mode))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %04o: got %v, want %q", mode, err, want)
		}
	}
}
