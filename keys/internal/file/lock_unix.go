//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPause is the time between two attempts to lock.
const lockPause = 50 * time.Millisecond

// lockDir takes the advisory lock of a directory, and waits for it until ctx is
// done. It locks the directory because a file that is replaced takes its lock
// with it, and a lock file would stay behind.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = d.Close() }, nil // which releases the lock
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			_ = d.Close()
			return nil, fmt.Errorf("locking %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			_ = d.Close()
			return nil, fmt.Errorf("locking %s, which another command holds: %w", dir, context.Cause(ctx))
		case <-time.After(lockPause):
		}
	}
}

// giveTo gives f the owner of the file at path, so that the users that can read
// the replaced file can read the new one.
func giveTo(path string, f *os.File) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil //nolint:nilerr // there is no file, so no owner
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("keeping the owner of %s: %w; run the command as that user", path, err)
	}
	return nil
}

// othersMay reports whether anyone but the owner may read or write the file.
func othersMay(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// everyoneMayWrite reports whether users outside the group of the file may write
// it.
func everyoneMayWrite(info os.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }
