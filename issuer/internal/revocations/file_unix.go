//go:build unix

package revocations

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// inode returns the number of a file in its file system.
func inode(info fs.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%w: %s has no inode", ErrRefused, info.Name())
	}
	return stat.Ino, nil
}

// isFull reports whether there is no more room for a file.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// keepOwner gives a new file the owner of the first of some files that exists: an
// administrator's command must not take the log away from the server.
func keepOwner(file *os.File, paths ...string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
			return nil
		}
		return file.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// syncFolder makes a new name in the folder survive a crash.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
