// Package snapshotfile reads and replaces a file that lets a verifier start
// during an outage of its issuer. Anyone who can write it can make the verifier
// believe anything, so it is read with suspicion.
package snapshotfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNone means that no file has been written yet.
var ErrNone = errors.New("there is no snapshot")

// Read returns the content of a file that only its owner can have written, who
// must be this process's user or root. The file must have at most limit bytes.
// The error is [ErrNone] or says why the file must be ignored.
func Read(path string, limit int) ([]byte, error) {
	// It is checked before it is opened, as opening a pipe would block, and
	// again when it is open, as it may have been replaced.
	before, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNone
	case err != nil:
		return nil, err
	}
	if err := check(before); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(before, info) {
		return nil, errors.New("it was replaced while it was being opened")
	}
	if err := check(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = errors.New("it is too long")
	}
	return data, err
}

func check(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	return checkWriters(info)
}

// Replace replaces the file atomically. Its mode is 0600, and its directory must
// exist.
func Replace(path string, data []byte) (err error) {
	// CreateTemp makes a file of mode 0600.
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	if err := write(temporary, data); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// write writes, syncs and closes: a rename may reach the disk before the
// content does, and would leave an empty file after a crash.
func write(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
