package revocations

import (
	"maps"
	"time"
)

// A Health is what a source knows and how it came to.
type Health struct {
	// Fresh reports whether sessions can be judged.
	Fresh bool
	// Age is how old the knowledge is; 0 if it is not complete as of any time.
	Age time.Duration
	// MaxAge is how old knowledge may get; 0 before the feed has answered.
	MaxAge time.Duration
	// Enabled reports whether the issuer keeps a log.
	Enabled bool
	// Entries is how many revocations are in force.
	Entries   int
	LastError string
	// Refused counts answers that were not taken, and Unknown entries that were
	// ignored, because their scope is unknown.
	Refused map[string]int
	Unknown int
}

// Health returns the state of the knowledge, without I/O and without waiting.
func (s *Source) Health() Health {
	known := s.known.Load()
	h := Health{
		Fresh: known.Fresh(s.now(), s.maxAge), Age: s.age(known), MaxAge: known.limit(s.maxAge),
		Enabled: known.enabled, Entries: known.set.len(), Unknown: known.unknown,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.LastError = s.lastError
	if len(s.refused) > 0 {
		h.Refused = maps.Clone(s.refused)
	}
	return h
}
