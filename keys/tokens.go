package keys

import "time"

// TokensOf returns which tokens of k, one of m.Keys, may be alive at t: those
// issued since from, of which the last one expires at last at expiry. Alive is
// false when there is none. It assumes the longest token that the policy
// allows, so the truth may be less. Of an imported key nothing is known but how
// long it is published.
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
