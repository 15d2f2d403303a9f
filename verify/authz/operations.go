package authz

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/customersession/customersession/verify"
)

// Operations returns the handler for operators: /livez, /readyz and /metrics.
// It needs no credentials, so serve it on a separate listener.
func (s *Server) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusOK, health{Status: "ok"})
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metrics)
	return mux
}

// health is the answer to a probe.
type health struct {
	Status string `json:"status"`
	// Keys is the state of the keys.
	Keys *verify.State `json:"keys,omitempty"`
	// LastError is the reason of a failed fetch, see [verify.Health].
	LastError string `json:"last_error,omitempty"`
	// Revocations is the state of the feed of revocations, if it is followed, and
	// RevocationsError the reason why it failed last.
	Revocations      verify.State `json:"revocations,omitempty"`
	RevocationsError string       `json:"revocations_error,omitempty"`
}

// readyz is ready with any usable keys, also with stale ones: other replicas have
// no better ones. Asking for them here makes a server fetch that gets no other
// requests. Without knowing which sessions have ended it is not ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	limit, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	err := s.verifier.Ready(limit)
	known := s.verifier.Health()
	answer := health{
		Status: "ok", Keys: &known.State, LastError: known.LastError,
		Revocations: known.Revocations.State, RevocationsError: known.Revocations.LastError,
	}
	status := http.StatusOK
	switch {
	case s.draining.Load():
		status, answer.Status = http.StatusServiceUnavailable, "draining"
	case err != nil:
		status, answer.Status = http.StatusServiceUnavailable, "unready"
	}
	writeHealth(w, status, answer)
}

func writeHealth(w http.ResponseWriter, status int, answer health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		// The probe is gone.
		return
	}
}
