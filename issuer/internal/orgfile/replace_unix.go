//go:build unix

package orgfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// lockPause is the time between two attempts to lock.
const lockPause = 50 * time.Millisecond

// lock takes the advisory lock of a folder: a file that is replaced would take
// its lock with it.
func lock(ctx context.Context, folder string) (unlock func(), err error) {
	l := flock.New(folder, flock.SetFlag(os.O_RDONLY))
	if _, err := l.TryLockContext(ctx, lockPause); err != nil {
		return nil, fmt.Errorf("locking %s: %w", folder, err)
	}
	return func() { _ = l.Close() }, nil
}

// replace renames a new file with that text over the one at path.
func replace(path string, text []byte) error {
	folder := filepath.Dir(path)
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(folder), renameio.WithPermissions(0o600), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // nothing is left after the file was replaced
	if err := keepOwner(path, file.File); err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncFolder(folder)
}

// keepOwner gives file the owner of the one at path, so that the server can
// still read it.
func keepOwner(path string, file *os.File) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // there is no file, so no owner
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("keeping the owner: %w; run the command as that user", err)
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
