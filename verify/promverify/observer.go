// Package promverify exports the metrics of a [verify.Verifier] to Prometheus.
// It is a separate package so that services without Prometheus do not build it.
//
//	observer, err := promverify.New(prometheus.DefaultRegisterer)
//	…
//	v, err := verify.New(verify.Config{ …, Observer: observer })
//
// The metrics are:
//
//   - customersession_verify_tokens_total, by result and whether the token was
//     in the cache;
//   - customersession_verify_refreshes_total, by result, and
//     customersession_verify_refresh_seconds: fetches of the issuer's keys;
//   - customersession_verify_keys, and customersession_verify_skipped_keys by
//     reason: the keys of the last successful fetch;
//   - customersession_verify_last_refresh_timestamp_seconds: the time of that
//     fetch. Alert when it is older than the keys' freshness and part of MaxStale;
//   - customersession_verify_revocation_requests_total, by result: requests to the
//     feed of revocations, with answers that were refused under their reason;
//   - customersession_verify_revocations: how many revocations are in force;
//   - customersession_verify_revocations_timestamp_seconds: the time as of which
//     ended sessions are known, 0 before the first answer. Their age is time()
//     minus this. Alert when it is more than half of the feed's limit.
//
// No label holds anything from a token.
package promverify

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/customersession/customersession/verify"
)

// An Observer is a [verify.RevocationsObserver] that counts. It is safe for
// concurrent use.
type Observer struct {
	tokens      *prometheus.CounterVec
	refreshes   *prometheus.CounterVec
	durations   prometheus.Histogram
	keys        prometheus.Gauge
	skipped     *prometheus.GaugeVec
	lastRefresh prometheus.Gauge

	revocationRequests *prometheus.CounterVec
	revocations        prometheus.Gauge
	revocationsAsOf    prometheus.Gauge
	// known holds the token counters that are looked up without a lock. The map
	// is never modified.
	known map[outcome]prometheus.Counter
}

// An outcome is a pair of labels.
type outcome struct {
	result string
	cached bool
}

// New registers the metrics and returns their observer. It returns an error if
// the registry already has metrics of these names. Verifiers may share an
// Observer: their counts are then summed, and the gauges show the latest
// refresh of any of them. To keep them apart, give each its own Observer with
// [prometheus.WrapRegistererWith] and a label.
func New(registerer prometheus.Registerer) (*Observer, error) {
	o := &Observer{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersession_verify_tokens_total",
			Help: "Tokens verified, by result and whether they were in the cache.",
		}, []string{"result", "cached"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersession_verify_refreshes_total",
			Help: "Attempts to fetch the issuer's keys, by result.",
		}, []string{"result"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "customersession_verify_refresh_seconds",
			Help: "How long attempts to fetch the issuer's keys took.",
			// 5 ms to 5 s, the timeout of an attempt.
			Buckets: prometheus.ExponentialBucketsRange(0.005, 5, 10),
		}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersession_verify_keys",
			Help: "Usable keys in the issuer's last good answer.",
		}),
		skipped: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersession_verify_skipped_keys",
			Help: "Keys in the issuer's last good answer that cannot be used, by reason.",
		}, []string{"reason"}),
		lastRefresh: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersession_verify_last_refresh_timestamp_seconds",
			Help: "When the issuer last answered with keys, in seconds since 1970.",
		}),
		revocationRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersession_verify_revocation_requests_total",
			Help: "Requests to the issuer's feed of revocations, by result.",
		}, []string{"result"}),
		revocations: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersession_verify_revocations",
			Help: "Revocations in force.",
		}),
		revocationsAsOf: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersession_verify_revocations_timestamp_seconds",
			Help: "As of when ended sessions are known, in seconds since 1970.",
		}),
		known: map[outcome]prometheus.Counter{},
	}
	// Series start at 0, so that rate sees the first event.
	for _, result := range verify.Results() {
		o.known[outcome{result, false}] = o.tokens.WithLabelValues(result, "false")
	}
	o.known[outcome{verify.ResultOK, true}] = o.tokens.WithLabelValues(verify.ResultOK, "true")

	var problems []error
	for _, c := range []prometheus.Collector{
		o.tokens, o.refreshes, o.durations, o.keys, o.skipped, o.lastRefresh,
		o.revocationRequests, o.revocations, o.revocationsAsOf,
	} {
		problems = append(problems, registerer.Register(c))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return o, nil
}

// Verified implements [verify.Observer].
func (o *Observer) Verified(_ context.Context, v verify.Verification) {
	counter := o.known[outcome{v.Result, v.Cached}]
	if counter == nil {
		counter = o.tokens.WithLabelValues(v.Result, strconv.FormatBool(v.Cached))
	}
	counter.Inc()
}

// Refreshed implements [verify.Observer].
func (o *Observer) Refreshed(r verify.Refresh) {
	o.refreshes.WithLabelValues(r.Result).Inc()
	o.durations.Observe(r.Duration.Seconds())
	if r.Result != verify.ResultOK && r.Result != verify.ResultUnchanged {
		return // the gauges describe the keys still in use
	}
	o.keys.Set(float64(r.Keys))
	o.skipped.Reset()
	for reason, n := range r.Skipped {
		o.skipped.WithLabelValues(reason).Set(float64(n))
	}
	o.lastRefresh.SetToCurrentTime()
}

// RevocationsAnswered implements [verify.RevocationsObserver].
func (o *Observer) RevocationsAnswered(a verify.RevocationsAnswer) {
	o.revocationRequests.WithLabelValues(a.Result).Inc()
	o.revocations.Set(float64(a.Entries))
	if a.Result == verify.ResultOK {
		asOf := time.Now().Add(-a.Age)
		o.revocationsAsOf.Set(float64(asOf.UnixMilli()) / 1000)
	}
}
