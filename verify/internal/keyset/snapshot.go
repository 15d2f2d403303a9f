package keyset

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/internal/snapshotfile"
)

// maxSnapshotLength leaves room for what is beside a JWK Set.
const maxSnapshotLength = maxSetLength + 4<<10

// A snapshot is a file that lets a verifier start during an outage of its
// issuer.
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
// [snapshotfile.ErrNone] or says why the file is ignored.
func (s *snapshot) load(now time.Time) (*cached, error) {
	data, err := snapshotfile.Read(s.file, maxSnapshotLength)
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

// save replaces the file. It is written after every good answer, even if that
// changed nothing: it holds the time of the answer.
func (s *snapshot) save(keys *cached) error {
	document, err := json.Marshal(snapshotDocument{
		Issuer: s.issuer, JWKSetURL: s.url, FetchedAt: keys.confirmedAt.Unix(), Keys: keys.set.AppendJSON(nil),
	})
	if err != nil {
		return fmt.Errorf("encoding keys: %w", err)
	}
	return snapshotfile.Replace(s.file, append(document, '\n'))
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
	case errors.Is(err, snapshotfile.ErrNone):
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
