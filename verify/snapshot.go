package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// maxSnapshotLength leaves room for what is beside a JWK Set.
const maxSnapshotLength = maxSetLength + 4<<10

// errNoSnapshot means that nobody has written one yet.
var errNoSnapshot = errors.New("there is no key snapshot")

// A snapshot is a file that lets a verifier start during an outage of its
// issuer. Whoever can write it can forge any token, so it is read with more
// suspicion than an answer over https.
type snapshot struct {
	file, issuer, url string
	maxStale, leeway  time.Duration
	// loaded says that the file was read; that is done once.
	loaded bool
}

// snapshotDocument is what the file holds.
type snapshotDocument struct {
	Issuer    string `json:"issuer"`
	JWKSetURL string `json:"jwks_uri"`
	// FetchedAt is wall-clock time, in seconds since 1970: a monotonic clock
	// means nothing to another process.
	FetchedAt int64           `json:"fetched_at"`
	Keys      json.RawMessage `json:"jwks"`
}

func newSnapshot(config *Config) *snapshot {
	return &snapshot{
		file: config.SnapshotFile, issuer: config.Issuer, url: config.JWKSetURL,
		maxStale: config.MaxStale, leeway: config.Leeway,
	}
}

// load reads keys as old as the file says. They are stale from the start,
// whatever the issuer promised about them: a process that just began asks the
// issuer first. The error is errNoSnapshot or says why the file is ignored.
func (s *snapshot) load(now time.Time) (*fetched, error) {
	data, err := s.readFile()
	if err != nil {
		return nil, err
	}
	var document snapshotDocument
	if err := ijson.Unmarshal(data, &document); err != nil {
		return nil, errors.New("it is damaged")
	}
	if document.Issuer != s.issuer || document.JWKSetURL != s.url {
		return nil, errors.New("it is of another issuer")
	}
	age := now.Round(0).Sub(time.Unix(document.FetchedAt, 0))
	switch {
	case age >= s.maxStale:
		return nil, errors.New("it is older than MaxStale")
	case age < -s.leeway:
		return nil, errors.New("it is from the future")
	}
	keys, err := read(document.Keys)
	if err != nil {
		return nil, errors.New("it holds no JWK Set that can be used")
	}
	keys.date(now.Add(-max(age, 0)), s.maxStale)
	return keys, nil
}

// readFile returns the content of a file that nobody but its owner, who must
// be this process's user or root, can have written.
func (s *snapshot) readFile() ([]byte, error) {
	// Looked at before it is opened, as opening a pipe would wait for ever,
	// and again when it is open, as somebody might have swapped it.
	before, err := os.Lstat(s.file) //nolint:gosec // the operator names the file
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoSnapshot
	case err != nil:
		return nil, err
	}
	if err := checkSnapshot(before); err != nil {
		return nil, err
	}
	f, err := os.Open(s.file) //nolint:gosec // as above
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
	if err := checkSnapshot(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshotLength+1))
	if err == nil && len(data) > maxSnapshotLength {
		err = errors.New("it is too long")
	}
	return data, err
}

func checkSnapshot(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	return checkWriters(info)
}

// save replaces the file, at once for any reader. It is written after every
// good answer, also when that changed nothing: the age of the file is the age
// of what it says.
func (s *snapshot) save(keys *fetched) (err error) {
	document, err := json.Marshal(snapshotDocument{
		Issuer: s.issuer, JWKSetURL: s.url, FetchedAt: keys.at.Unix(), Keys: keys.set.AppendJSON(nil),
	})
	if err != nil {
		return fmt.Errorf("encoding keys: %w", err)
	}
	// CreateTemp makes a file of mode 0600.
	temporary, err := os.CreateTemp(filepath.Dir(s.file), "."+filepath.Base(s.file)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name())) //nolint:gosec // as above
		}
	}()
	if err := write(temporary, append(document, '\n')); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), s.file) //nolint:gosec // as above
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
