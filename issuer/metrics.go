package issuer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/customersession/customersession/issuer/internal/connections"
	"github.com/customersession/customersession/issuer/internal/reload"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys/jwk"
)

// metrics are what /metrics shows. The values of every label come from a closed
// list or from the operator's files, never from a request.
type metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	issued     *prometheus.CounterVec
	refused    *prometheus.CounterVec
	limited    *prometheus.CounterVec
	signatures *prometheus.HistogramVec
	lookups    *prometheus.HistogramVec
	reloads    *prometheus.CounterVec
	feed       *prometheus.CounterVec
	ended      *prometheus.CounterVec
	exchanges  *prometheus.CounterVec
	recoveries *prometheus.CounterVec
}

// describe describes a metric that is computed at each scrape.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("customersession_"+name, help, labels, nil)
}

// gauge returns the value of such a metric.
//
//nolint:ireturn // the library has no other type for it
func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "customersession_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "customersession_" + name, Help: help,
			// From about a signature to more than any timeout here.
			Buckets: []float64{50e-6, 150e-6, 500e-6, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5, 1.5, 5},
		}, labels)
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		requests:   counter("http_requests_total", "Requests on the public listener.", "route", "method", "status"),
		durations:  histogram("http_request_duration_seconds", "Time to answer a request.", "route"),
		issued:     counter("sessions_issued_total", "Sessions issued.", "organization"),
		refused:    counter("credentials_refused_total", "Requests without valid credentials.", "reason"),
		limited:    counter("rate_limited_total", "Requests refused with 429.", "by"),
		signatures: histogram("signature_duration_seconds", "Time to sign a token.", "algorithm", "result"),
		lookups:    histogram("customer_lookup_duration_seconds", "Time to find a customer, or one of its members.", "result"),
		reloads:    counter("file_reloads_total", "New versions of a file, used or refused.", "file", "result"),
		feed:       counter("revocation_feed_requests_total", "Requests to the feed of revocations.", "result"),
		ended:      counter("revocations_total", "Calls that end sessions.", "scope", "result"),
		exchanges:  counter("exchanges_total", "Calls that exchange a code for its session.", "result"),
		recoveries: counter("recoveries_total", "Requests for a new link.", "result"),
	}
	m.registry.MustRegister(
		m.requests, m.durations, m.issued, m.refused, m.limited, m.signatures, m.lookups, m.reloads, m.feed, m.ended, m.exchanges, m.recoveries,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	for _, result := range []string{feedAnswered, feedCrowded, feedLimited, feedUnavailable, feedRefused} {
		m.feed.WithLabelValues(result)
	}
	for _, result := range exchangeResults() {
		m.exchanges.WithLabelValues(result)
	}
	for _, scope := range []revocations.Scope{revocations.Session, revocations.Customer, revocations.Member, revocations.APIKey, revocations.Organization} {
		for _, result := range []string{endingDone, endingRepeated, endingOff, endingTooMany, endingUnknown} {
			m.ended.WithLabelValues(string(scope), result)
		}
	}
	for _, result := range []string{recoverySent, recoveryFailed, recoveryBusy, recoveryNoDirectory} {
		m.recoveries.WithLabelValues(result)
	}
	return m
}

func (m *metrics) request(c *call, took time.Duration) {
	m.requests.WithLabelValues(route(c), method(c), strconv.Itoa(c.Response().Status)).Inc()
	m.durations.WithLabelValues(route(c)).Observe(took.Seconds())
}

func (m *metrics) signature(algorithm jwk.Algorithm, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.signatures.WithLabelValues(string(algorithm), result).Observe(took.Seconds())
}

func (m *metrics) lookup(result string, took time.Duration) {
	m.lookups.WithLabelValues(result).Observe(took.Seconds())
}

// reload counts what happened to a file.
func (m *metrics) reload(file string, e reload.Event) {
	m.reloads.WithLabelValues(file, e.Kind.String()).Inc()
}

// followConnections shows the connections of the public listener.
func (m *metrics) followConnections(listener *connections.Listener) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "customersession_connections", Help: "Open connections on the public listener.",
	}, func() float64 {
		open, _ := listener.Count()
		return float64(open)
	}))
	for _, limit := range []string{connections.Total, connections.PerClient, connections.Descriptors} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "customersession_connections_closed_total", Help: "Connections closed to make room for others.",
			ConstLabels: prometheus.Labels{"limit": limit},
		}, func() float64 {
			_, closed := listener.Count()
			return float64(closed[limit])
		}))
	}
}

// followFeed shows the consumers that wait.
func (m *metrics) followFeed(w *waiting) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "customersession_revocation_feed_waiting", Help: "Consumers of the feed of revocations that wait for news.",
	}, func() float64 { return float64(w.count()) }))
}

// followLog shows how many lines of the log were dropped.
func (m *metrics) followLog(dropped func() int) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "customersession_log_lines_dropped_total", Help: "Lines of the log dropped because its reader was stuck.",
	}, func() float64 { return float64(dropped()) }))
}

// followFile shows how a file stands. Its counts begin at zero, so that the
// first refusal is an increase.
func (m *metrics) followFile(f followedFile) {
	show := func(name, help string, value func(reload.Status) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "customersession_" + name, Help: help, ConstLabels: prometheus.Labels{"file": f.name},
		}, func() float64 { return value(f.status()) }))
	}
	show("file_refused", "1 if the file as it is now is refused, and an earlier version stays in use.", func(s reload.Status) float64 {
		if s.Err != nil {
			return 1
		}
		return 0
	})
	show("file_loaded_timestamp_seconds", "Since when the version of a file is in use.", func(s reload.Status) float64 {
		return float64(s.LoadedAt.Unix())
	})
	for _, kind := range []reload.Kind{reload.Replaced, reload.Refused, reload.Restored} {
		m.reloads.WithLabelValues(f.name, kind.String())
	}
}
