package customers

import (
	"net/http"
	"time"
)

// SetTransport lets h reach its server another way.
func (h *HTTP) SetTransport(transport http.RoundTripper) { h.client.Transport = transport }

// SetBudget gives one Find more or less time.
func (h *HTTP) SetBudget(budget time.Duration) { h.budget = budget }

// MaxConcurrent is what tests measure against.
const MaxConcurrent = maxConcurrent

// MaxBulkheads is what tests measure against.
const MaxBulkheads = maxBulkheads

// Bulkheads returns of how many organizations h keeps a state.
func (h *HTTP) Bulkheads() int { return len(h.guard.bulkheads) }
