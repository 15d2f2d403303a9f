package revocations

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/internal/snapshotfile"
	"github.com/customersession/customersession/verify/wire"
)

var errDamaged = errors.New("it is damaged")

const (
	// maxSnapshotLength leaves room for all that can be known.
	maxSnapshotLength = 64 << 20
	// The file is written saveAfterNews after the last time if there is news, and
	// otherwise when this part of the feed's limit has passed.
	saveAfterNews = 10 * time.Second
	saveFraction  = 10
)

// A Snapshot is knowledge for another process, with wall-clock times in seconds
// since 1970: a monotonic clock means nothing there.
type Snapshot struct {
	Issuer string `json:"issuer"`
	URL    string `json:"revocations_uri"`
	// AsOf is the time as of which everything is known.
	AsOf    int64           `json:"as_of"`
	Log     string          `json:"log"`
	Seq     int64           `json:"seq"`
	MaxAge  int64           `json:"max_age"`
	Revoked []SnapshotEntry `json:"revoked"`
	// RevokedKeys are the revoked signing keys, in no order.
	RevokedKeys []SnapshotKey `json:"revoked_keys"`
}

// A SnapshotKey is a revoked signing key.
type SnapshotKey struct {
	ID string `json:"kid"`
	// DropAt is when it is forgotten.
	DropAt int64 `json:"drop_at"`
}

// A SnapshotEntry is an entry in force. In the file it is a list, without names.
type SnapshotEntry struct {
	ID wire.RevocationID
	// IssuedBefore is 0 for a single session.
	IssuedBefore, DropAt int64
}

// MarshalJSON implements [json.Marshaler].
func (e SnapshotEntry) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `["%s",%d,%d]`, e.ID, e.IssuedBefore, e.DropAt), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *SnapshotEntry) UnmarshalJSON(data []byte) error {
	parts := []any{&e.ID, &e.IssuedBefore, &e.DropAt}
	err := json.Unmarshal(data, &parts)
	if err == nil && len(parts) != 3 {
		err = errDamaged
	}
	return err
}

// Snapshot returns what is known now; ok is false if that is not complete.
func (k *Knowledge) Snapshot(now Instant) (s Snapshot, ok bool) {
	age, ok := k.Age(now)
	if !ok {
		return Snapshot{}, false
	}
	s = Snapshot{
		AsOf: now.Wall.Add(-age).Unix(), Log: k.log, Seq: k.seq, MaxAge: int64(k.maxAge / time.Second),
		Revoked: make([]SnapshotEntry, 0, k.set.len()), RevokedKeys: make([]SnapshotKey, 0, len(k.keys)),
	}
	for id, dropAt := range k.keys {
		s.RevokedKeys = append(s.RevokedKeys, SnapshotKey{id, dropAt})
	}
	for id, e := range k.set.all {
		if e.issuedBefore == always {
			e.issuedBefore = 0
		}
		s.Revoked = append(s.Revoked, SnapshotEntry{id, e.issuedBefore, e.dropAt})
	}
	return s, true
}

// Restore returns the knowledge of a snapshot, which is as old as the wall clock
// says and leeway more. Whether the issuer had a log is not kept, so that it may
// be switched off with a restart of its consumers.
func (s *Snapshot) Restore(now Instant, leeway time.Duration) (*Knowledge, error) {
	age := now.Wall.Sub(time.Unix(s.AsOf, 0)) + leeway
	switch {
	case age < 0:
		return nil, errors.New("it is from the future")
	case s.Seq < 0 || s.Log == "" && s.Seq > 0 || s.MaxAge < 1 || s.MaxAge > int64(maxMaxAge/time.Second),
		len(s.Revoked) > maxKnown, len(s.RevokedKeys) > maxKeys:
		return nil, errDamaged
	}
	k := &Knowledge{
		log: s.Log, seq: s.Seq, heard: true, begun: now, age: age,
		maxAge: time.Duration(s.MaxAge) * time.Second, keys: make(map[string]int64, len(s.RevokedKeys)),
	}
	for _, key := range s.RevokedKeys {
		k.keys[key.ID] = key.DropAt
	}
	c := change{set: &k.set}
	for _, e := range s.Revoked {
		if e.IssuedBefore == 0 {
			e.IssuedBefore = always
		}
		if e.IssuedBefore < 0 || e.DropAt < 1 || e.DropAt == math.MaxInt64 {
			return nil, errDamaged
		}
		c.add(e.ID, end{e.IssuedBefore, e.DropAt})
	}
	return k.Forget(now), nil
}

// A snapshot is the file that keeps the knowledge. The goroutine that follows the
// feed is the only one to use it.
type snapshot struct {
	file, url string
	leeway    time.Duration
	// loaded is set once the file was read, or could not be.
	loaded bool
	// savedAt and revision are those of the last version that was written.
	savedAt  Instant
	revision int
	// saving is set while one is being written, which another goroutine does.
	saving atomic.Bool
}

func newSnapshot(config *Config) *snapshot {
	if config.SnapshotFile == "" {
		return nil
	}
	return &snapshot{file: config.SnapshotFile, url: config.URL, leeway: config.Leeway}
}

// due reports whether the file should be written: soon after news, and often
// enough that it is much younger than the feed allows.
func (f *snapshot) due(k *Knowledge, now Instant) bool {
	since := now.Since(f.savedAt)
	return f.savedAt == (Instant{}) || since >= k.maxAge/saveFraction || f.revision != k.revision && since >= saveAfterNews
}

// saveSnapshot writes the file if that is due.
func (s *Source) saveSnapshot(k *Knowledge) {
	now := s.now()
	if s.snapshot == nil || !s.snapshot.due(k, now) {
		return
	}
	kept, ok := k.Snapshot(now)
	if !ok {
		return
	}
	if !s.snapshot.saving.CompareAndSwap(false, true) {
		return // the disk still hangs on the last one
	}
	s.snapshot.savedAt, s.snapshot.revision = now, k.revision
	kept.Issuer, kept.URL = s.issuer, s.snapshot.url
	// A disk that hangs must not keep the feed from being followed.
	s.running.Go(func() {
		defer s.snapshot.saving.Store(false)
		data, err := json.Marshal(kept)
		if err == nil {
			err = snapshotfile.Replace(s.snapshot.file, append(data, '\n'))
		}
		if err != nil {
			s.logger.Warn("cannot write the snapshot of revocations; after a restart during an outage no session can be judged",
				slog.String("error", err.Error()))
		}
	})
}

// loadSnapshot reads the file, once.
func (s *Source) loadSnapshot() {
	if s.snapshot == nil || s.snapshot.loaded {
		return
	}
	s.snapshot.loaded = true
	kept, err := s.readSnapshot()
	switch {
	case errors.Is(err, snapshotfile.ErrNone):
		return
	case err != nil:
		s.logger.Warn("ignoring the snapshot of revocations", slog.String("reason", err.Error()))
		return
	}
	s.change(func(k *Knowledge) (*Knowledge, Verdict) { return kept.withAll(k), Taken })
	s.logger.Info("found revocations in the snapshot", slog.Duration("age", s.age(kept)), slog.Int("entries", kept.Entries()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broadcast()
}

func (s *Source) readSnapshot() (*Knowledge, error) {
	data, err := snapshotfile.Read(s.snapshot.file, maxSnapshotLength)
	if err != nil {
		return nil, err
	}
	var kept Snapshot
	if err := ijson.Unmarshal(data, &kept); err != nil {
		return nil, errDamaged
	}
	if kept.Issuer != s.issuer || kept.URL != s.snapshot.url {
		return nil, errors.New("it is of another issuer")
	}
	return kept.Restore(s.now(), s.snapshot.leeway)
}
