//go:build unix

package fileaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	othersRead  = 0o004
	othersWrite = 0o002
)

// maxLinks is how many symbolic links may lead to a file, as for
// [filepath.EvalSymlinks].
const maxLinks = 255

// CheckWrite returns an error if everyone may change the file, or put another one
// in its place because a folder on the way to it lets everyone write. The folders
// of symbolic links on the way count, too. A folder with the sticky bit, such as
// /tmp, does not: there, only the owner of a file may replace it.
//
// Nothing can be written to a file system that is mounted read-only, whatever the
// mode says. That is how Kubernetes mounts Secrets and ConfigMaps.
func CheckWrite(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if !filepath.IsAbs(path) {
		folder, err := os.Getwd()
		if err != nil {
			return err
		}
		path = folder + "/" + path
	}
	links := 0
	// No link is on the way to at, so the parent of at is what its path says.
	for at, rest := "/", path; ; {
		target, err := checkWrite(at)
		if err != nil {
			return err
		}
		if target != "" {
			if links++; links > maxLinks {
				return fmt.Errorf("%s: %w", path, syscall.ELOOP)
			}
			rest = target + "/" + rest
			at = filepath.Dir(at)
			if filepath.IsAbs(target) {
				at = "/"
			}
		}
		if rest == "" {
			return nil
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		at = filepath.Join(at, name)
	}
}

// checkWrite checks the mode of a file or folder. For a symbolic link, it returns
// its target.
func checkWrite(path string) (target string, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 {
		return os.Readlink(path)
	}
	if mode&othersWrite == 0 || mode.IsDir() && mode&fs.ModeSticky != 0 || readOnly(path) {
		return "", nil
	}
	return "", fmt.Errorf("%s has mode %04o: everyone may change it; run chmod o-w on it, or mount it read-only", path, mode.Perm())
}

// readOnly reports whether path, which everyone may write, is on a file system
// that is mounted read-only.
func readOnly(path string) bool {
	const write = 2 // W_OK
	return errors.Is(syscall.Access(path, write), syscall.EROFS)
}

// CheckRead returns an error if there is such a file and everyone may read it.
func CheckRead(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // there is nothing to read
	}
	if mode := info.Mode().Perm(); mode&othersRead != 0 {
		return fmt.Errorf("everyone may read it, as its mode is %04o; run chmod o-r on it, or set defaultMode: 0440 for a Secret", mode)
	}
	return nil
}
