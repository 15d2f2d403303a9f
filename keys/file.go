package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// CreateFile writes the manifest to a new file with mode 0600. Where the path
// exists already, whatever it is, nothing is changed and the error is
// [fs.ErrExist]. A crash leaves the whole file or none.
func CreateFile(path string, m *Manifest) error {
	err := writeBeside(path, m, func(temporary string) error {
		// Unlike a rename, a link never replaces what is there.
		return os.Link(temporary, path)
	})
	if errors.Is(err, fs.ErrExist) {
		// The cause names a temporary file that says nothing to the reader.
		return fmt.Errorf("creating key set %s: %w: a key set is never overwritten, as tokens of its keys may be alive", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("creating key set: %w", err)
	}
	return nil
}

// WriteFile writes the manifest to the file, with mode 0600. A file that is
// there is replaced at once: readers see the old one or the new one, and so
// does whoever comes after a crash. A symbolic link is replaced, not followed.
func WriteFile(path string, m *Manifest) error {
	err := writeBeside(path, m, func(temporary string) error {
		return os.Rename(temporary, path)
	})
	if err != nil {
		return fmt.Errorf("writing key set: %w", err)
	}
	return nil
}

// writeBeside writes a temporary file in the directory of path, and calls put
// to give it its place once it is on the disk.
func writeBeside(path string, m *Manifest, put func(temporary string) error) error {
	if err := m.Validate(); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	// After a rename there is nothing left to remove.
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(m.Encode())
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := put(f.Name()); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the new name in the directory last.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
