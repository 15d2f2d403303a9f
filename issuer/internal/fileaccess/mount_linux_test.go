package fileaccess_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/fileaccess"
)

// On a file system that is mounted read-only nobody can write, whatever the mode
// says.
func TestCheckWriteOfAReadOnlyMount(t *testing.T) {
	t.Parallel()
	path := place(t, 0o700, 0o777, 0o666)
	folder := filepath.Dir(path)
	if err := mountReadOnly(folder); err != nil {
		needs.Missing(t, "permission to mount", "run the tests as root: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	if err := fileaccess.CheckWrite(path); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// mountReadOnly mounts a folder over itself so that nobody can write there.
func mountReadOnly(folder string) error {
	if err := syscall.Mount(folder, folder, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
	if err != nil {
		err = errors.Join(err, syscall.Unmount(folder, 0))
	}
	return err
}
