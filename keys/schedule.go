package keys

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A State is what a key is at an instant.
type State int

// The states, in the order in which a key passes through them. Next, current and
// retired keys are published.
const (
	// Scheduled is a key before publish_at.
	Scheduled State = iota
	// Next is a published key before activate_at.
	Next
	// Current is the one key that signs.
	Current
	// Retired is a published key that no longer signs because a newer key does
	// or its lease has ended, or that was imported.
	Retired
	// Removed is a key from remove_at on.
	Removed
	// Revoked is a key from revoked_at on, whatever its state was.
	Revoked
)

// String returns the name of the state in lower case.
func (s State) String() string {
	switch s {
	case Scheduled:
		return "scheduled"
	case Next:
		return "next"
	case Current:
		return "current"
	case Retired:
		return "retired"
	case Removed:
		return "removed"
	case Revoked:
		return "revoked"
	default:
		return "unknown"
	}
}

// StateAt returns the state of k, one of m.Keys, at t. In a public copy, which
// has no private parts, the current key is that of the original.
func (m *Manifest) StateAt(k *Key, t time.Time) State {
	switch {
	case k.revokedAt(t):
		return Revoked
	case !t.Before(k.RemoveAt):
		return Removed
	case t.Before(k.PublishAt):
		return Scheduled
	case !k.Imported && t.Before(k.ActivateAt):
		return Next
	case k == m.CurrentAt(t), m.isPublic() && k == m.newest(func(k *Key) bool { return k.inForce(t) }):
		return Current
	default:
		return Retired
	}
}

// isPublic reports whether no key can sign, as in a public copy.
func (m *Manifest) isPublic() bool { return !slices.ContainsFunc(m.Keys, (*Key).signable) }

func (k *Key) revokedAt(t time.Time) bool {
	return !k.RevokedAt.IsZero() && !t.Before(k.RevokedAt)
}

// publishedAt reports whether the key is in the JWK Set at t.
func (k *Key) publishedAt(t time.Time) bool {
	return !t.Before(k.PublishAt) && t.Before(k.publishedUntil())
}

// publishedUntil returns when the key leaves the JWK Set.
func (k *Key) publishedUntil() time.Time {
	if !k.RevokedAt.IsZero() && k.RevokedAt.Before(k.RemoveAt) {
		return k.RevokedAt
	}
	return k.RemoveAt
}

// signsUntil returns when the key must stop signing.
func (k *Key) signsUntil() time.Time {
	if !k.RevokedAt.IsZero() && k.RevokedAt.Before(k.SignUntil) {
		return k.RevokedAt
	}
	return k.SignUntil
}

// inForce reports whether the lease of the key covers t.
func (k *Key) inForce(t time.Time) bool {
	return !k.Imported && !t.Before(k.ActivateAt) && t.Before(k.signsUntil())
}

// CurrentAt returns the key that signs at t, or nil: of the keys that have a
// private part and a lease at t, the one that was activated last. Every replica
// with the same manifest selects the same key.
func (m *Manifest) CurrentAt(t time.Time) *Key {
	return m.newest(func(k *Key) bool { return k.signable() && k.inForce(t) })
}

// newest returns the key that was activated last of those that qualify, or nil.
// It is the only code that selects a key to sign with.
func (m *Manifest) newest(qualifies func(*Key) bool) *Key {
	var newest *Key
	for _, k := range m.Keys {
		if qualifies(k) && (newest == nil || newestFirst(k, newest) < 0) {
			newest = k
		}
	}
	return newest
}

// newestFirst orders keys by the instant of their activation, the latest first,
// and then by key ID.
func newestFirst(a, b *Key) int {
	return cmp.Or(b.ActivateAt.Compare(a.ActivateAt), strings.Compare(a.ID(), b.ID()))
}

// PublishedAt returns the JWK Set at t: the current key first, for consumers
// that take the first key they see, then the next keys, then the retired ones,
// each from the newest to the oldest. An empty set must not be served.
func (m *Manifest) PublishedAt(t time.Time) *jwk.Set {
	type entry struct {
		key  *Key
		rank int
	}
	var entries []entry
	for _, k := range m.Keys {
		switch m.StateAt(k, t) {
		case Current:
			entries = append(entries, entry{k, 0})
		case Next:
			entries = append(entries, entry{k, 1})
		case Retired:
			entries = append(entries, entry{k, 2})
		default:
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), newestFirst(a.key, b.key))
	})
	published := make([]*jwk.Key, len(entries))
	for i, e := range entries {
		published[i] = e.key.Public
	}
	set, err := jwk.NewSet(published...)
	if err != nil {
		panic("keys: the manifest was not validated: " + err.Error())
	}
	return set
}

// PublishedKey returns the key with that ID if it is in the JWK Set at t, and
// nil otherwise. Unlike PublishedAt it does not allocate.
func (m *Manifest) PublishedKey(id string, t time.Time) *jwk.Key {
	for _, k := range m.Keys {
		if k.ID() == id && k.publishedAt(t) {
			return k.Public
		}
	}
	return nil
}

// RecoveryPeriod is for how long after its removal the public half of a key is kept
// and returned by [Manifest.RecoveryKey].
const RecoveryPeriod = 30 * 24 * time.Hour

// RecoveryKey returns the key with that ID if it has been published by t, is not
// revoked, and was not removed longer than [RecoveryPeriod] ago; otherwise nil. It
// proves who once got an expired token, so that they can be written to, and nothing
// else: a key that is not in the JWK Set must not verify what lets anybody in.
func (m *Manifest) RecoveryKey(id string, t time.Time) *jwk.Key {
	for _, k := range slices.Concat(m.Keys, m.Dropped) {
		if k.ID() == id && !t.Before(k.PublishAt) && !k.revokedAt(t) && t.Before(k.RemoveAt.Add(RecoveryPeriod)) {
			return k.Public
		}
	}
	return nil
}

// nextEvent returns the first instant after t in the schedule of any key, or
// the zero time. No key changes its state before it.
func (m *Manifest) nextEvent(t time.Time) time.Time {
	var next time.Time
	for _, k := range m.Keys {
		for _, instant := range [...]time.Time{k.PublishAt, k.ActivateAt, k.SignUntil, k.RemoveAt, k.RevokedAt} {
			next = earlierAfter(t, next, instant)
		}
	}
	return next
}

// SignsUntil returns the first instant from t on at which no key may sign: t
// itself if none may at t, and otherwise the end of the last lease in the
// sequence that continues without a gap. Only a newer manifest can move it.
func (m *Manifest) SignsUntil(t time.Time) time.Time {
	for m.CurrentAt(t) != nil {
		t = m.nextEvent(t)
	}
	return t
}

// signsAgain returns the first instant after t at which a key may sign, or the
// zero time.
func (m *Manifest) signsAgain(t time.Time) time.Time {
	for {
		if t = m.nextEvent(t); t.IsZero() || m.CurrentAt(t) != nil {
			return t
		}
	}
}

// earlierAfter returns candidate if it is after t and before next, and next
// otherwise. A zero next means never.
func earlierAfter(t, next, candidate time.Time) time.Time {
	if candidate.After(t) && (next.IsZero() || candidate.Before(next)) {
		return candidate
	}
	return next
}

// MaxAge returns for how long the JWK Set of t may be cached, in whole seconds:
// the cache of the policy, but not beyond the next change that matters to a
// cache (rule 4). A key that comes or goes as planned does not matter: caches
// learn of it before it signs (rule 1), and its tokens expire before it leaves
// (rule 2). If caches ended at such a change, all consumers would ask at the
// same instant.
func (m *Manifest) MaxAge(t time.Time) time.Duration {
	var next time.Time
	for _, k := range m.Keys {
		enters, leaves := k.PublishAt, k.publishedUntil()
		if !enters.Before(leaves) {
			continue
		}
		if k.Imported || k.Bootstrap {
			next = earlierAfter(t, next, enters)
		}
		if k.Imported || leaves.Before(k.RemoveAt) {
			next = earlierAfter(t, next, leaves)
		}
	}
	age := m.Policy.Cache
	if !next.IsZero() {
		age = min(age, next.Sub(t))
	}
	return age.Truncate(time.Second)
}
