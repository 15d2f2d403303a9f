package feed

import (
	"time"

	"github.com/customersession/customersession/verify/wire"
)

// A Session is what may be ended of a session.
type Session struct {
	OrganizationID, ID, CustomerID string
	MemberID                       string // may be empty
	ClientID                       string // of the API key; may be empty
	IssuedAt                       time.Time
}

// Ends reports whether a session has been ended. The error is ErrUnavailable.
func (f *Follower) Ends(s *Session) (bool, error) {
	if f.config.Log == nil {
		return false, nil
	}
	ids := s.ids()
	now := time.Now()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.tooOld(now, f.config.MaxAge) {
		return false, ErrUnavailable
	}
	for _, id := range ids {
		m, ok := f.index.marks[id]
		if ok && s.IssuedAt.Unix() < m.issuedBefore {
			return true, nil
		}
	}
	return false, nil
}

// ids are the IDs of all that ends the session.
func (s *Session) ids() []wire.RevocationID {
	ids := make([]wire.RevocationID, 0, 5)
	for _, part := range []struct {
		scope wire.RevocationScope
		id    string
	}{
		{wire.RevokeSession, s.ID},
		{wire.RevokeCustomer, s.CustomerID},
		{wire.RevokeMember, s.MemberID},
		{wire.RevokeAPIKey, s.ClientID},
	} {
		if part.id != "" {
			ids = append(ids, wire.NewRevocationID(part.scope, s.OrganizationID, part.id))
		}
	}
	return append(ids, wire.NewRevocationID(wire.RevokeOrganization, s.OrganizationID, ""))
}

// Recent reports whether anything but a single session was ended so recently that a
// session that is issued now may be dead. It costs next to nothing.
func (f *Follower) Recent(now time.Time) bool { return now.Unix() < f.latest.Load() }

// IssuedBefore returns the time before which a new session would have been ended;
// zero if it would not.
func (f *Follower) IssuedBefore(s *Session) time.Time {
	ids := s.ids()
	f.mu.RLock()
	defer f.mu.RUnlock()
	var latest int64
	for _, id := range ids {
		if m := f.index.marks[id]; m.issuedBefore != always {
			latest = max(latest, m.issuedBefore)
		}
	}
	if latest <= s.IssuedAt.Unix() {
		return time.Time{}
	}
	return time.Unix(latest, 0)
}

// tooOld reports whether what is known is older than a limit. The caller holds mu.
func (f *Follower) tooOld(now time.Time, limit time.Duration) bool {
	return f.began.IsZero() || age(f.began, now) > limit
}

// A Status is how a follower stands.
type Status struct {
	// Enabled reports whether there is a log. Without one, all else is zero.
	Enabled bool
	// Heard reports whether the log has been read once.
	Heard bool
	// Age is how long ago the last complete read began, or, before the first one,
	// the follower was made.
	Age time.Duration
	// Failure is the error of the last read, since Failing; nil if there was none.
	Failure error
	Failing time.Time
	// Ahead is by how much the log's clock is ahead of ours, at least.
	Ahead time.Duration
	// Entries is how many entries are in force.
	Entries int
	// Manifest is the highest version of a key manifest that the log has seen.
	Manifest int64
}

// Status returns how the follower stands.
func (f *Follower) Status() Status {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := Status{
		Enabled: f.config.Log != nil, Heard: !f.began.IsZero(), Failure: f.failure, Failing: f.failing,
		Ahead: f.ahead, Entries: len(f.index.entries), Manifest: f.index.manifest,
	}
	switch {
	case !s.Enabled:
	case f.began.IsZero():
		s.Age = age(f.made, time.Now())
	default:
		s.Age = age(f.began, time.Now())
	}
	return s
}

// RevokedKey reports whether the log says that a signing key has been revoked.
func (f *Follower) RevokedKey(id string) bool {
	if !f.keys.Load() {
		return false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, revoked := f.index.keys[id]
	return revoked
}
