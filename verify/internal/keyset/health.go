package keyset

import (
	"maps"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A Health is what a source knows about its set.
type Health struct {
	Usable, Fresh bool
	LastSuccess   time.Time
	LastError     string
	// KeyIDs and Skipped are those of a usable set.
	KeyIDs      []string
	Skipped     map[string]int
	NextRefresh time.Time
}

// Health returns the state of the set, without I/O and without waiting.
func (s *Source) Health() Health {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.current.Load()
	h := Health{
		Usable: current.usable(now), Fresh: current.fresh(now),
		// Round strips the monotonic reading: these times leave the process.
		LastSuccess: current.confirmedAt.Round(0), LastError: s.lastError, NextRefresh: s.due.Round(0),
	}
	if h.Usable {
		h.KeyIDs, h.Skipped = IDs(current.set), maps.Clone(current.skipped)
	}
	return h
}

// IDs returns the key IDs of a set, in order.
func IDs(set *jwk.Set) []string {
	ids := make([]string, 0, set.Len())
	for _, key := range set.Keys() {
		ids = append(ids, key.ID())
	}
	return ids
}
