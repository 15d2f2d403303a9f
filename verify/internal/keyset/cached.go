package keyset

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A cached is a JWK Set with its age. Its times carry a monotonic reading, so
// that a change of the wall clock makes no key fresh or stale. It does not
// change once it is shared.
type cached struct {
	set     *jwk.Set // nil before there is any
	skipped map[string]int
	etag    string
	// confirmedAt is when the issuer was last asked for the set with success;
	// zero for keys given in code.
	confirmedAt time.Time
	// lifetime is the freshness lifetime of the set, within our bounds (RFC
	// 9111, Section 4.2.1).
	lifetime time.Duration
	// refreshAt is before freshUntil, so that a fetch in the background
	// finishes before a caller would have to wait for it.
	refreshAt, freshUntil time.Time
	// usableUntil is when the set is too stale to be used, unless it is a
	// seed: keys given in code are used until the issuer answers.
	usableUntil time.Time
	seed        bool
	// refreshErr is why the last attempt to replace the set failed, or nil. A
	// stale set is used without waiting for another attempt after one failed.
	refreshErr error
}

func (c *cached) usable(now time.Time) bool {
	return c.set != nil && (c.seed || now.Before(c.usableUntil))
}

func (c *cached) fresh(now time.Time) bool { return now.Before(c.freshUntil) }

// failing reports whether the last attempt to replace the set failed.
func (c *cached) failing() bool { return c.refreshErr != nil }

// key returns the key with that ID, or nil if there is none that may be used.
func (c *cached) key(keyID string, now time.Time) *jwk.Key {
	if !c.usable(now) {
		return nil
	}
	return c.set.Key(keyID)
}

// withRefreshErr returns a copy with another refreshErr.
func (c *cached) withRefreshErr(err error) *cached {
	next := *c
	next.refreshErr = err
	return &next
}

// confirm sets the times of a set that the issuer was asked for at that time.
// The refresh falls anywhere in 75 to 85 % of the lifetime, so that verifiers
// that start together do not refresh together for ever.
func (c *cached) confirm(at time.Time, maxStale time.Duration) {
	early := time.Duration((0.75 + 0.1*rand.Float64()) * float64(c.lifetime)) //nolint:gosec // jitter needs no secrecy
	c.confirmedAt, c.refreshAt, c.freshUntil = at, at.Add(early), at.Add(c.lifetime)
	c.usableUntil = c.freshUntil.Add(maxStale)
}

// sameKeys reports whether both hold the same keys, in any order. Key IDs are
// thumbprints, so keys with the same ID are the same.
func (c *cached) sameKeys(other *cached) bool {
	if c.set == nil || c.set.Len() != other.set.Len() || len(c.skipped) != len(other.skipped) {
		return false
	}
	for reason, n := range c.skipped {
		if other.skipped[reason] != n {
			return false
		}
	}
	for _, key := range c.set.Keys() {
		if other.set.Key(key.ID()) == nil {
			return false
		}
	}
	return true
}

// parse reads a JWK Set. The error is a class of [Event].
func parse(body []byte) (*cached, string) {
	if len(body) > maxSetLength {
		return nil, classTooLarge
	}
	set, err := jwk.ParseSet(body)
	switch {
	case errors.Is(err, jwk.ErrEmptySet):
		return nil, classNoUsableKey
	case err != nil:
		return nil, classDocument
	}
	return &cached{set: set, skipped: countSkipped(set)}, ""
}

// countSkipped counts the keys of a set that cannot be used, by reason.
func countSkipped(set *jwk.Set) map[string]int {
	var counts map[string]int
	for _, skipped := range set.Skipped() {
		if counts == nil {
			counts = map[string]int{}
		}
		counts[skipReason(skipped.Reason)]++
	}
	return counts
}

// skipReason returns the word for a reason of package jwk. What remains is a
// member that is missing, repeated or not what it must be.
func skipReason(err error) string {
	for _, known := range []struct {
		err  error
		word string
	}{
		{jwk.ErrUnsupported, "unsupported"},
		{jwk.ErrNotForVerify, "not_for_verify"},
		{jwk.ErrPrivate, "private"},
		{jwk.ErrContradiction, "contradiction"},
		{jwk.ErrPoint, "point"},
		{jwk.ErrSmallOrder, "small_order"},
		{jwk.ErrRSA, "rsa"},
		{jwk.ErrThumbprint, "thumbprint"},
	} {
		if errors.Is(err, known.err) {
			return known.word
		}
	}
	return "malformed"
}
