// Package file keeps a manifest in a file of this machine.
package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/customersession/customersession/keys"
)

// maxSize is more than [keys.ParseManifest] accepts.
const maxSize = 2 << 20

// A Store keeps a manifest in a file. It is safe for concurrent use, also by
// several processes.
//
// A write is atomic: the new text goes into a temporary file in the same
// directory, to the disk, and then into its place. Readers see the old manifest
// or the new one, also after a crash. Writers exclude each other with an
// advisory lock on the directory, and compare what is there with what they
// read, in case a program wrote that does not use the lock.
//
// The version that a write replaces stays beside the file, with ".previous" at
// the end of its name and the same owner and mode.
type Store struct {
	path string
}

// New returns the store for that path. The file need not exist. Where the path
// is a symbolic link, the file it leads to is replaced, not the link.
func New(path string) *Store { return &Store{path: path} }

// String returns the path.
func (s *Store) String() string { return s.path }

// Read returns the manifest, and the revision that names what was read: a hash
// of the content. The error wraps [fs.ErrNotExist] when there is no file; it
// holds nothing of a private key. A file with a private key is refused when
// anyone but its owner may read or write it, and any file that everyone may
// write.
func (s *Store) Read(context.Context) (*keys.Manifest, string, error) {
	file, err := os.Open(s.path)
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
		return nil, "", fmt.Errorf("%s: %w", s.path, err)
	}
	m, err := keys.ParseManifest(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", s.path, err)
	}
	switch mode := info.Mode().Perm(); {
	case hasPrivate(m) && othersMay(info):
		return nil, "", fmt.Errorf("%s holds private keys, but has mode %04o: others may read or change it; "+
			"run chmod 600 on it, and if others could read it, treat its keys as stolen", s.path, mode)
	case everyoneMayWrite(info):
		return nil, "", fmt.Errorf("%s has mode %04o: everyone may put keys of their own into it; "+
			"run chmod o-w on it, and see whether its keys are still yours", s.path, mode)
	}
	return m, revision(data), nil
}

func hasPrivate(m *keys.Manifest) bool {
	return slices.ContainsFunc(m.Keys, func(k *keys.Key) bool { return k.Private != nil })
}

// readAll reads a manifest, or enough to see that it is too long.
func readAll(file *os.File) ([]byte, error) { return io.ReadAll(io.LimitReader(file, maxSize)) }

// revision names a text.
func revision(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Write replaces the manifest that was read with that revision, as a whole or
// not at all. The file has mode 0600 and keeps its owner. An empty revision
// makes a new file and never replaces one. The error wraps [keys.ErrConflict]
// when something else is there by now, and [fs.ErrExist] as well when the
// revision is empty. After any other error, read again: the write may have
// taken place.
func (s *Store) Write(ctx context.Context, m *keys.Manifest, revision string) error {
	if err := s.write(ctx, m, revision); err != nil {
		return fmt.Errorf("writing key set: %w", err)
	}
	return nil
}

func (s *Store) write(ctx context.Context, m *keys.Manifest, revision string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	path := s.path
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
	old, err := unchanged(path, revision)
	if err != nil {
		return err
	}
	if err := replace(path+".previous", path, old); err != nil {
		return fmt.Errorf("keeping the previous version: %w", err)
	}
	return replace(path, path, m.Encode())
}

// replace writes the file at path, with the owner of the file model.
func replace(path, model string, data []byte) error {
	return writeBeside(path, model, data, func(temporary string) error {
		return os.Rename(temporary, path)
	})
}

// create makes a new file.
func create(path string, m *keys.Manifest) error {
	err := writeBeside(path, path, m.Encode(), func(temporary string) error {
		// Unlike a rename, a link never replaces a file.
		return os.Link(temporary, path)
	})
	if errors.Is(err, fs.ErrExist) {
		// The cause names a temporary file, which says nothing to the reader.
		return fmt.Errorf("%s: %w (%w): a key set is never overwritten, as tokens of its keys may be valid",
			path, fs.ErrExist, keys.ErrConflict)
	}
	return err
}

// unchanged returns the content of the file, and ErrConflict if it is not what
// was read.
func unchanged(path, read string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, keys.ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := readAll(file)
	if err != nil {
		return nil, err
	}
	if revision(data) != read {
		return nil, fmt.Errorf("%s: %w", path, keys.ErrConflict)
	}
	return data, nil
}

// writeBeside writes a temporary file in the directory of path, with the owner
// of the file model, and calls put to move it into place once it is on the disk.
func writeBeside(path, model string, data []byte, put func(temporary string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	// After a rename there is nothing left to remove.
	defer func() { _ = os.Remove(f.Name()) }()
	err = giveTo(model, f)
	if err == nil {
		_, err = f.Write(data)
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

// syncDir makes a new name in the directory survive a crash.
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
