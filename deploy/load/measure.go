package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rounds is how often everybody takes a turn: the machine's speed drifts.
const rounds = 10

// A result is what became of a call at a server.
type result struct {
	call string
	ours bool // not the bare handler

	mu       sync.Mutex
	took     []time.Duration // of the requests that were answered as they should
	failures map[int]int     // by status, 0 when there was no answer
	turns    time.Duration
}

func (r *result) add(status, want int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status != want {
		r.failures[status]++
		return
	}
	r.took = append(r.took, took)
}

// measure gives each call at each server its turns. What is returned has the
// server and the bare handler in turn.
func measure(ctx context.Context, o options, calls []*call, bare string) []*result {
	limit := rate.Inf
	if o.rate > 0 {
		limit = rate.Limit(o.rate)
	}
	w := worker{client: newClient(o.connections), limiter: rate.NewLimiter(limit, 1), connections: o.connections}
	defer w.client.CloseIdleConnections()
	var results []*result
	for _, c := range calls {
		results = append(results,
			&result{call: c.name, ours: true, failures: map[int]int{}},
			&result{call: c.name, failures: map[int]int{}})
	}
	turn := o.duration / time.Duration(rounds*len(results))
	for range rounds {
		for i, c := range calls {
			w.turn(ctx, turn, c, o.base, results[2*i])
			w.turn(ctx, turn, c, bare, results[2*i+1])
		}
	}
	return results
}

type worker struct {
	client      *http.Client
	limiter     *rate.Limiter
	connections int
}

// turn makes a call for some time, on all connections, and waits for the last
// answers.
func (w *worker) turn(ctx context.Context, length time.Duration, c *call, base string, r *result) {
	start := time.Now()
	var all sync.WaitGroup
	for range w.connections {
		all.Go(func() {
			for time.Since(start) < length && w.limiter.Wait(ctx) == nil {
				asked := time.Now()
				status, err := c.make(ctx, w.client, base)
				if err != nil {
					status = 0
				}
				r.add(status, c.want, time.Since(asked))
			}
		})
	}
	all.Wait()
	r.turns += time.Since(start)
}
