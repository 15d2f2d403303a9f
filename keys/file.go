package keys

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A File is the [Store] that keeps a manifest in a file of this machine.
//
// A write is atomic: the new text goes into a file beside it, to the disk, and
// then into its place. Readers see the old manifest or the new one, and so does
// whoever comes after a crash. Writers keep each other out with an advisory
// lock on the directory, and compare what is there with what they read, in
// case somebody wrote who knows of no lock.
type File struct {
	path string
}

// NewFile returns the store for that path. The file need not exist. Where the
// path is a symbolic link, the file it leads to is replaced, not the link.
func NewFile(path string) *File { return &File{path: path} }

// String returns the path.
func (f *File) String() string { return f.path }

// Read reads the file. One that holds a private key is refused when anybody
// but its owner may read or write it. The revision is a hash of the content.
func (f *File) Read(context.Context) (*Manifest, string, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	data, err := readAll(file)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", f.path, err)
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", f.path, err)
	}
	if m.secret() && othersMay(info) {
		return nil, "", fmt.Errorf("%s holds private keys, but has mode %04o: others may read or change it; "+
			"run chmod 600 on it, and if others could read it, treat its keys as stolen", f.path, info.Mode().Perm())
	}
	return m, revision(data), nil
}

// revision names a text.
func revision(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Write implements [Store]. The file has mode 0600 and keeps its owner. With
// an empty revision it is made, and never replaces what is there, whatever that
// is; then the error wraps [fs.ErrExist] as well as [ErrConflict].
func (f *File) Write(ctx context.Context, m *Manifest, revision string) error {
	if err := f.write(ctx, m, revision); err != nil {
		return fmt.Errorf("writing key set: %w", err)
	}
	return nil
}

func (f *File) write(ctx context.Context, m *Manifest, revision string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	path := f.path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if revision == "" {
		return create(path, m)
	}
	if err := unchanged(path, revision); err != nil {
		return err
	}
	return writeBeside(path, m, func(temporary string) error {
		return os.Rename(temporary, path)
	})
}

// create makes a file that must not be there yet.
func create(path string, m *Manifest) error {
	err := writeBeside(path, m, func(temporary string) error {
		// Unlike a rename, a link never replaces what is there.
		return os.Link(temporary, path)
	})
	if errors.Is(err, fs.ErrExist) {
		// The cause names a temporary file that says nothing to the reader.
		return fmt.Errorf("%s: %w (%w): a key set is never overwritten, as tokens of its keys may be alive",
			path, fs.ErrExist, ErrConflict)
	}
	return err
}

// unchanged returns ErrConflict when the file is not the one that was read.
func unchanged(path, read string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrConflict)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := readAll(file)
	if err != nil {
		return err
	}
	if revision(data) != read {
		return fmt.Errorf("%s: %w", path, ErrConflict)
	}
	return nil
}

// writeBeside writes a temporary file in the directory of path, and calls put
// to give it its place once it is on the disk.
func writeBeside(path string, m *Manifest, put func(temporary string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	// After a rename there is nothing left to remove.
	defer func() { _ = os.Remove(f.Name()) }()
	err = giveTo(path, f)
	if err == nil {
		_, err = f.Write(m.Encode())
	}
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
