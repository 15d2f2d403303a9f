//go:build unix

package snapshotfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// checkWriters refuses a file that users other than this process's and root can
// have written.
func checkWriters(info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("others may write it")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 && int64(stat.Uid) != int64(os.Geteuid()) {
		return errors.New("it belongs to another user")
	}
	return nil
}
