package keyset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// maxSnapshotLength leaves room for what is beside a JWK Set.
const maxSnapshotLength = maxSetLength + 4<<10

// errNoSnapshot means that none has been written yet.
var errNoSnapshot = errors.New("there is no key snapshot")

// A snapshot is a file that lets a verifier start during an outage of its
// issuer. Anyone who can write it can forge any token, so it is read with more
// suspicion than an answer over https.
type snapshot struct {
	file, issuer, url string
	maxStale, leeway  time.Duration
	// loaded is set once the file was read, or could not be.
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
		file: config.SnapshotFile, issuer: config.Issuer, url: config.URL,
		maxStale: config.MaxStale, leeway: config.Leeway,
	}
}

// load reads keys that are as old as the file says. They are stale from the
// start, so that a new process asks the issuer first. The error is
// errNoSnapshot or says why the file is ignored.
func (s *snapshot) load(now time.Time) (*cached, error) {
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
	keys, class := parse(document.Keys)
	if class != "" {
		return nil, errors.New("it holds no JWK Set that can be used")
	}
	keys.confirm(now.Add(-max(age, 0)), s.maxStale)
	return keys, nil
}

// readFile returns the content of a file that only its owner can have written,
// who must be this process's user or root.
func (s *snapshot) readFile() ([]byte, error) {
	// It is checked before it is opened, as opening a pipe would block, and
	// again when it is open, as it may have been replaced.
	before, err := os.Lstat(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoSnapshot
	case err != nil:
		return nil, err
	}
	if err := checkSnapshot(before); err != nil {
		return nil, err
	}
	f, err := os.Open(s.file)
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

// save replaces the file atomically. It is written after every good answer, even
// if that changed nothing: it holds the time of the answer.
func (s *snapshot) save(keys *cached) (err error) {
	document, err := json.Marshal(snapshotDocument{
		Issuer: s.issuer, JWKSetURL: s.url, FetchedAt: keys.confirmedAt.Unix(), Keys: keys.set.AppendJSON(nil),
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
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	if err := write(temporary, append(document, '\n')); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), s.file)
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

// save writes the snapshot, unless the disk still hangs on the last one.
func (s *Source) save(keys *cached) {
	if !s.saving.CompareAndSwap(false, true) {
		return
	}
	defer s.saving.Store(false)
	if err := s.snapshot.save(keys); err != nil {
		s.logger.Warn("cannot write the key snapshot; after a restart during an outage there will be no keys",
			slog.String("error", err.Error()))
	}
}

// loadSnapshot returns the current set, after a look at the file for the first
// attempt. Attempts come one after the other, so they do not race for it.
func (s *Source) loadSnapshot() *cached {
	current := s.current.Load()
	if s.snapshot == nil || s.snapshot.loaded {
		return current
	}
	s.snapshot.loaded = true
	kept, err := s.snapshot.load(time.Now())
	switch {
	case errors.Is(err, errNoSnapshot):
		return current
	case err != nil:
		s.logger.Warn("ignoring the key snapshot", slog.String("reason", err.Error()))
		return current
	}
	s.logger.Info("found keys in the snapshot", slog.Time("fetched_at", kept.confirmedAt), slog.Int("keys", kept.set.Len()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.Store(kept)
	s.broadcast()
	return kept
}
