package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// A document is the JWK Set as served at an instant.
type document struct {
	// body is the JWK Set (RFC 7517, Section 5). It is nil if no key is
	// published, as caches would take an empty set for the removal of all keys.
	// It must not be changed.
	body []byte
	// etag is a strong entity tag with its quotes (RFC 9110, Section 8.8.3),
	// equal for equal bodies.
	etag string
	// maxAge is how long the document may be cached, in whole seconds (rule 4).
	maxAge time.Duration
}

// A cachedDocument is a document that stays the same from one event of the
// schedule to the next, except for its maxAge.
type cachedDocument struct {
	document
	from, until time.Time // until is zero if no event follows
}

func (c *cachedDocument) covers(t time.Time) bool {
	return !t.Before(c.from) && (c.until.IsZero() || t.Before(c.until))
}

// jwkSet returns the document for t. It encodes only once between two events.
func (r *Ring) jwkSet(t time.Time) document {
	c := r.cached.Load()
	if c == nil || !c.covers(t) {
		c = r.newDocument(t)
		r.cached.Store(c)
	}
	d := c.document
	d.maxAge = r.manifest.MaxAge(t)
	return d
}

// newDocument begins at t rather than at the event before it: going back in
// time is rare, and costs one more encoding.
func (r *Ring) newDocument(t time.Time) *cachedDocument {
	c := &cachedDocument{from: t, until: r.manifest.nextEvent(t)}
	set := r.manifest.PublishedAt(t)
	if set.Len() == 0 {
		return c
	}
	c.body = set.AppendJSON(nil)
	sum := sha256.Sum256(c.body)
	c.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return c
}
