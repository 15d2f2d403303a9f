package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// operations returns the handler for operators: /livez, /readyz and /metrics.
// It needs no credentials, so it belongs on a listener of its own.
func (s *Server) operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, nil, nil)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		writeHealth(w, s.unready(now), s.warnings(now))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		Registry: s.metrics.registry,
	}))
	return mux
}

// unready returns why this replica should get no requests. A customer directory
// that is down is no reason: keys and introspection still work, and it is down
// for the other replicas too.
func (s *Server) unready(now time.Time) []string {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "the server is shutting down")
	}
	if _, err := s.signingKey(now); err != nil {
		reasons = append(reasons, err.Error())
	}
	if err := s.revives(s.keys().Manifest()); err != nil {
		reasons = append(reasons, err.Error())
	}
	return reasons
}

// warnings returns what needs attention although this replica works. Restarting
// it or sending its requests elsewhere would not help.
func (s *Server) warnings(now time.Time) []string {
	warnings := append(s.refusedFiles(), s.files.warnings()...)
	ring := s.keys()
	for _, err := range ring.Away() {
		warnings = append(warnings, err.Error())
	}
	if err := s.signFailure.Load(); err != nil {
		warnings = append(warnings, "the last signature failed: "+(*err).Error())
	}
	warnings = append(warnings, s.revocationWarnings(now)...)
	m := ring.Manifest()
	// Rotating renews a lease when about half of it is left.
	left := m.SignsUntil(now).Sub(now)
	if left > 0 && left < m.Policy.Lease/4 {
		warnings = append(warnings, fmt.Sprintf("no key may sign from %s on, in %s; rotate the keys, or see why no newer manifest came",
			m.SignsUntil(now).UTC().Format(time.RFC3339), left.Truncate(time.Second)))
	}
	return warnings
}

// clockBound is how far apart this replica's clock and the log's may be, so that
// everything that was issued before an ending is ended by it.
const clockBound = time.Second

// revocationWarnings are about the log of revocations.
func (s *Server) revocationWarnings(now time.Time) []string {
	var warnings []string
	status := s.revocations.Status()
	if status.Failure != nil {
		warnings = append(warnings, fmt.Sprintf("revocation log: away for %s: %v; sessions cannot be ended meanwhile",
			now.Sub(status.Failing).Round(time.Second), status.Failure))
	}
	if status.Ahead.Abs() > clockBound {
		warnings = append(warnings, fmt.Sprintf("revocation log: its clock and this one are %s apart; one of them is wrong, and sessions that were just issued may outlive an ending",
			status.Ahead.Abs().Round(time.Millisecond)))
	}
	return warnings
}

// health is the answer to a probe.
type health struct {
	Status string `json:"status"`
	// Reasons are why it is not ready.
	Reasons []string `json:"reasons,omitempty"`
	// Warnings may appear in both cases.
	Warnings []string `json:"warnings,omitempty"`
}

func writeHealth(w http.ResponseWriter, reasons, warnings []string) {
	status, body := http.StatusOK, health{Status: "ok", Warnings: warnings}
	if len(reasons) > 0 {
		status, body.Status, body.Reasons = http.StatusServiceUnavailable, "unready", reasons
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		// The probe is gone. There is nothing to do.
		return
	}
}
