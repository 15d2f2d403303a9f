package issuer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/customersession/customersession/keys"
)

// A keysCollector shows the keys in use. The state of a key follows from the
// manifest and the clock, so it is computed at each scrape.
type keysCollector struct {
	ring func() *keys.Ring

	version, created, states, current, nextEvent, ends *prometheus.Desc
}

func newKeysCollector(ring func() *keys.Ring) *keysCollector {
	return &keysCollector{
		ring:      ring,
		version:   describe("keys_manifest_version", "Version of the key manifest in use."),
		created:   describe("keys_manifest_created_timestamp_seconds", "When that version was made."),
		states:    describe("keys", "Keys of the manifest in use, by what they are now.", "state"),
		current:   describe("keys_current_info", "1 for the key that signs now; absent when none does.", "kid", "algorithm"),
		nextEvent: describe("keys_next_event_seconds", "Time until any key does this next; absent when none will.", "event"),
		ends:      describe("keys_signing_ends_seconds", "Time until no key may sign unless a newer manifest comes; 0 when none may now."),
	}
}

// Describe implements [prometheus.Collector].
func (c *keysCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.version, c.created, c.states, c.current, c.nextEvent, c.ends} {
		descriptions <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *keysCollector) Collect(metrics chan<- prometheus.Metric) {
	now, ring := time.Now(), c.ring()
	m := ring.Manifest()
	metrics <- gauge(c.version, float64(m.Version))
	metrics <- gauge(c.created, float64(m.CreatedAt.Unix()))
	for state, n := range countStates(m, now) {
		metrics <- gauge(c.states, float64(n), keys.State(state).String())
	}
	if key, err := ring.SigningKey(now); err == nil {
		metrics <- gauge(c.current, 1, key.Public.ID(), string(key.Public.Algorithm()))
	}
	for event, next := range nextEvents(m, now) {
		metrics <- gauge(c.nextEvent, next.Sub(now).Seconds(), event)
	}
	metrics <- gauge(c.ends, m.SignsUntil(now).Sub(now).Seconds())
}

// countStates counts the keys in each state, including states without keys.
func countStates(m *keys.Manifest, now time.Time) (counts [keys.Revoked + 1]int) {
	for _, k := range m.Keys {
		counts[m.StateAt(k, now)]++
	}
	return counts
}

// nextEvents returns the first instant after now of each kind of event. A
// revocation removes the key and cancels its later events.
func nextEvents(m *keys.Manifest, now time.Time) map[string]time.Time {
	next := map[string]time.Time{}
	for _, k := range m.Keys {
		end := k.RemoveAt
		if !k.RevokedAt.IsZero() && k.RevokedAt.Before(end) {
			end = k.RevokedAt
		}
		for event, at := range map[string]time.Time{
			"publish": k.PublishAt, "activate": k.ActivateAt, "sign_until": k.SignUntil, "remove": end,
		} {
			first, found := next[event]
			if at.After(now) && !at.After(end) && (!found || at.Before(first)) {
				next[event] = at
			}
		}
	}
	return next
}
