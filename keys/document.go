package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// A Document is the JWK Set as it is served at an instant.
type Document struct {
	// Body is the JWK Set (RFC 7517, Section 5), nil when no key is published:
	// an empty set would be taken for the news that all keys are gone. It must
	// not be changed.
	Body []byte
	// ETag is a strong entity tag with its quotes (RFC 9110, Section 8.8.3),
	// equal for equal bodies.
	ETag string
	// MaxAge is how long it may be cached, in whole seconds (rule 4).
	MaxAge time.Duration
}

// A segment is a stretch of time in which the document stays the same.
type segment struct {
	from, until time.Time // until is zero when nothing is to come
	body        []byte
	etag        string
}

func (s *segment) contains(t time.Time) bool {
	return !t.Before(s.from) && (s.until.IsZero() || t.Before(s.until))
}

// JWKSet returns the document for t. It encodes only once between two events
// of the schedule.
func (r *Ring) JWKSet(t time.Time) Document {
	s := r.document.Load()
	if s == nil || !s.contains(t) {
		s = r.newSegment(t)
		r.document.Store(s)
	}
	return Document{Body: s.body, ETag: s.etag, MaxAge: r.manifest.MaxAge(t)}
}

// newSegment begins at t rather than at the event before it: going back in
// time is rare, and costs one more encoding.
func (r *Ring) newSegment(t time.Time) *segment {
	s := &segment{from: t, until: r.manifest.NextEvent(t)}
	set := r.manifest.PublishedAt(t)
	if set.Len() == 0 {
		return s
	}
	s.body = set.AppendJSON(nil)
	sum := sha256.Sum256(s.body)
	s.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return s
}
