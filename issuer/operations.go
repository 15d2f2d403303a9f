package issuer

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Operations returns the handler for operators: /livez, /readyz and /metrics.
// It needs no credentials, so it belongs on a listener of its own.
func (s *Server) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, nil)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, s.unready(time.Now()))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		Registry: s.metrics.registry,
	}))
	return mux
}

// unready returns why this replica should get no requests. A customer
// directory that is down is no reason: keys and introspection still work, and
// it would be down for the other replicas, too.
func (s *Server) unready(now time.Time) []string {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "the server is shutting down")
	}
	if _, err := s.keys().SigningKey(now); err != nil {
		reasons = append(reasons, err.Error())
	}
	return reasons
}

// health is the answer to a probe.
type health struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

func writeHealth(w http.ResponseWriter, reasons []string) {
	status, body := http.StatusOK, health{Status: "ok"}
	if len(reasons) > 0 {
		status, body = http.StatusServiceUnavailable, health{Status: "unready", Reasons: reasons}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		// The probe is gone; there is nobody left to tell.
		return
	}
}
