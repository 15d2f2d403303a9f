//go:build unix

package fileaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	othersRead  = 0o004
	othersWrite = 0o002
)

// CheckWrite returns an error if everyone may change the file, or put another one
// in its place because a folder on the way to it lets everyone write. A folder
// with the sticky bit, such as /tmp, does not: there, only the owner of a file may
// replace it.
//
// Where the file system is mounted read-only nobody can write, whatever the mode
// says. That is how Kubernetes mounts Secrets and ConfigMaps.
func CheckWrite(path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return err
	}
	for _, end := range []string{target, absolute} {
		for at := end; ; at = filepath.Dir(at) {
			if err := checkWrite(at); err != nil {
				return err
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return nil
}

func checkWrite(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || mode&othersWrite == 0 || mode.IsDir() && mode&fs.ModeSticky != 0 || readOnly(path) {
		return nil
	}
	return fmt.Errorf("%s has mode %04o: everyone may change it; run chmod o-w on it, or mount it read-only", path, mode.Perm())
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
		return nil //nolint:nilerr // nobody can read it
	}
	if mode := info.Mode().Perm(); mode&othersRead != 0 {
		return fmt.Errorf("everyone may read it, as its mode is %04o; run chmod o-r on it, or set defaultMode: 0440 for a Secret", mode)
	}
	return nil
}
