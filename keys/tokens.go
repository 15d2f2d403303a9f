package keys

import "time"

// TokensOf returns which tokens of k, one of m.Keys, may be valid at t: those
// issued since from, which expire by expiry. Alive is false if there are none.
// It assumes the longest token that the policy allows, so there may be fewer.
// Of an imported key it only knows how long it is published, and from is zero.
func (m *Manifest) TokensOf(k *Key, t time.Time) (from, expiry time.Time, alive bool) {
	if k.Imported {
		return time.Time{}, k.RemoveAt, k.publishedAt(t)
	}
	last := m.lastSigned(k, t)
	if !k.ActivateAt.Before(last) {
		return time.Time{}, time.Time{}, false
	}
	expiry = last.Add(m.Policy.MaxLifetime)
	if latest := k.latestExpiry(m.Policy); latest.Before(expiry) {
		expiry = latest
	}
	return later(k.ActivateAt, t.Add(-m.Policy.MaxLifetime)), expiry, t.Before(expiry)
}

// lastSigned returns the latest instant up to t at which a replica may have
// signed with k.
func (m *Manifest) lastSigned(k *Key, t time.Time) time.Time {
	last := t
	if until := k.signsUntil(); until.Before(last) {
		last = until
	}
	for _, other := range m.Keys {
		tookOver := other.ActivateAt.Add(m.Policy.Skew)
		signs := other.signable() && t.Before(other.signsUntil()) && newestFirst(other, k) < 0
		if signs && tookOver.Before(last) {
			last = tookOver
		}
	}
	return last
}
