// Package promverify counts for Prometheus what a [verify.Verifier] does. It
// is a package of its own so that consumers without Prometheus do not have to
// build it.
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
//     reason: the keys of the last good answer;
//   - customersession_verify_last_refresh_timestamp_seconds: when that came.
//     Alert when it is older than the keys' freshness and a part of MaxStale.
//
// No label ever holds anything out of a token.
package promverify

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/customersession/customersession/verify"
)

// An Observer is a [verify.Observer] that counts. It is safe for concurrent
// use.
type Observer struct {
	tokens      *prometheus.CounterVec
	refreshes   *prometheus.CounterVec
	durations   prometheus.Histogram
	keys        prometheus.Gauge
	skipped     *prometheus.GaugeVec
	lastRefresh prometheus.Gauge
	// known are the counters of tokens that are looked up without a lock. The
	// map is not changed.
	known map[outcome]prometheus.Counter
}

// An outcome is a pair of labels.
type outcome struct {
	result string
	cached bool
}

// New registers the metrics and returns their observer. An error means that
// the registry has others of the same names. Verifiers that share a registry
// may share an Observer, and then their counts are added up and the gauges are
// the last one's; to tell them apart, give each an Observer of its own with
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
			// 5 ms to 5 s, after which an attempt is given up.
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
		known: map[outcome]prometheus.Counter{},
	}
	// Series that start at 0 let a rate see the first event, too.
	for _, result := range verify.Results() {
		o.known[outcome{result, false}] = o.tokens.WithLabelValues(result, "false")
	}
	o.known[outcome{verify.ResultOK, true}] = o.tokens.WithLabelValues(verify.ResultOK, "true")

	var problems []error
	for _, c := range []prometheus.Collector{o.tokens, o.refreshes, o.durations, o.keys, o.skipped, o.lastRefresh} {
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
		return // the gauges are about the keys that are still in use
	}
	o.keys.Set(float64(r.Keys))
	o.skipped.Reset()
	for reason, n := range r.Skipped {
		o.skipped.WithLabelValues(reason).Set(float64(n))
	}
	o.lastRefresh.SetToCurrentTime()
}
