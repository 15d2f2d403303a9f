package revocations

import (
	"errors"
	"math"
	"time"

	"github.com/customersession/customersession/verify/wire"
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
	// RevokedKeys are the IDs of revoked signing keys, and when each is forgotten.
	RevokedKeys map[string]int64 `json:"revoked_keys"`
}

// A SnapshotEntry is an entry in force.
type SnapshotEntry struct {
	ID wire.RevocationID `json:"id"`
	// IssuedBefore is 0 for a single session.
	IssuedBefore int64 `json:"issued_before,omitempty"`
	DropAt       int64 `json:"drop_at"`
}

// Snapshot returns what is known now; ok is false if that is not complete.
func (k *Knowledge) Snapshot(now Instant) (s Snapshot, ok bool) {
	age, ok := k.Age(now)
	if !ok {
		return Snapshot{}, false
	}
	s = Snapshot{
		AsOf: now.Wall.Add(-age).Unix(), Log: k.log, Seq: k.seq, MaxAge: int64(k.maxAge / time.Second),
		Revoked: make([]SnapshotEntry, 0, k.set.len()), RevokedKeys: k.keys,
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
		len(s.Revoked) > maxKnown, len(s.RevokedKeys) > maxKnown:
		return nil, errors.New("it is damaged")
	}
	k := &Knowledge{
		log: s.Log, seq: s.Seq, heard: true, begun: now, age: age,
		maxAge: time.Duration(s.MaxAge) * time.Second, keys: s.RevokedKeys,
	}
	c := change{set: &k.set}
	for _, e := range s.Revoked {
		if e.IssuedBefore == 0 {
			e.IssuedBefore = always
		}
		if e.IssuedBefore < 0 || e.DropAt < 1 || e.DropAt == math.MaxInt64 {
			return nil, errors.New("it is damaged")
		}
		c.add(e.ID, end{e.IssuedBefore, e.DropAt})
	}
	return k.Forget(now), nil
}
