package issuer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/customersession/customersession/issuer/internal/feed"
)

// A revocationsCollector shows what the replica knows about the log of
// revocations. Without a log, all is zero.
type revocationsCollector struct {
	follower *feed.Follower

	enabled, entries, age, ahead *prometheus.Desc
}

func newRevocationsCollector(follower *feed.Follower) *revocationsCollector {
	return &revocationsCollector{
		follower: follower,
		enabled:  describe("revocations_enabled", "1 if there is a log of revocations, so that sessions can be ended."),
		entries:  describe("revocation_entries", "Revocations in force."),
		age:      describe("revocation_log_age_seconds", "Time since the last complete read of the log of revocations began."),
		ahead:    describe("revocation_log_clock_ahead_seconds", "By how much the clock of the log of revocations is ahead, at least; negative if it is behind."),
	}
}

// Describe implements [prometheus.Collector].
func (c *revocationsCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.enabled, c.entries, c.age, c.ahead} {
		descriptions <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *revocationsCollector) Collect(metrics chan<- prometheus.Metric) {
	status, enabled := c.follower.Status(), 0.0
	if status.Enabled {
		enabled = 1
	}
	metrics <- gauge(c.enabled, enabled)
	metrics <- gauge(c.entries, float64(status.Entries))
	metrics <- gauge(c.age, status.Age.Seconds())
	metrics <- gauge(c.ahead, status.Ahead.Seconds())
}
