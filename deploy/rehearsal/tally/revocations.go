package tally

import (
	"sync"
	"time"
)

// Revocations are the keys that were revoked, and from when on no consumer may
// accept what they signed. The zero value has none. Its methods are safe for
// concurrent use.
type Revocations struct {
	ends sync.Map // key ID to time.Time
}

// Announce says that a key is about to be revoked. From now on its tokens may be
// refused or accepted.
func (r *Revocations) Announce(keyID string) { r.ends.Store(keyID, time.Time{}) }

// Enforce says from when on a revoked key must be refused.
func (r *Revocations) Enforce(keyID string, end time.Time) { r.ends.Store(keyID, end) }

// Judge says whether a consumer was right. It was asked at the instant asked about
// a token of this key that expires at expires, and answered err just now.
func (r *Revocations) Judge(keyID string, expires, asked time.Time, err error) Verdict {
	value, _ := r.ends.Load(keyID)
	end, revoked := value.(time.Time)
	switch {
	case err == nil && revoked && !end.IsZero() && !asked.Before(end):
		return Late
	case err == nil, revoked, !time.Now().Before(expires):
		return Right
	default:
		return Refused
	}
}
