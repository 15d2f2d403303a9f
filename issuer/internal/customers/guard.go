package customers

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sony/gobreaker/v2"
)

const (
	breakAfter   = 5               // failures in a row
	breakFor     = 2 * time.Second // on average
	maxBulkheads = 4096
)

// guard stands between the organizations and a neighbour, a server or a database,
// so that no organization takes it from the others. Each organization has a
// bulkhead: at most half of the slots, and a circuit breaker of its own.
type guard struct {
	slots     chan struct{} // one for each exchange in progress
	mu        sync.Mutex
	bulkheads map[uuid.UUID]*bulkhead
}

// bulkhead is what an organization has of a guard.
type bulkhead struct {
	slots   chan struct{}
	breaker *gobreaker.CircuitBreaker[struct{}]
}

// newGuard returns a guard that allows so many exchanges at the same time.
func newGuard(slots int) *guard {
	return &guard{slots: make(chan struct{}, slots), bulkheads: map[uuid.UUID]*bulkhead{}}
}

// outageError is a failure that shows an outage of the neighbour, whatever it was
// asked: there is no connection, no answer in time, or one that says so. Nothing
// else counts for the breaker. An answer such as "too many requests" or "internal
// error" may be due to what one caller asks for.
type outageError struct{ error }

func (e *outageError) Unwrap() error { return e.error }

// do runs ask for an organization, once there is a slot, for which it waits half
// the time that ctx leaves. It does not run ask if the organization's exchanges
// have shown an outage. The error is [context.Canceled] if the caller gave up,
// which shows nothing.
func (g *guard) do(ctx context.Context, organization uuid.UUID, ask func() error) error {
	bulkhead := g.bulkhead(organization)
	leave, err := enter(ctx, bulkhead.slots, g.slots)
	defer leave()
	if err != nil {
		return err
	}
	_, err = bulkhead.breaker.Execute(func() (struct{}, error) {
		err := ask()
		if errors.Is(ctx.Err(), context.Canceled) {
			err = context.Canceled
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return errors.New("it has failed repeatedly, trying again soon")
	}
	return err
}

// enter takes a slot of each kind. What begins late cannot end in time, and a query
// that PostgreSQL is told to cancel before it has begun goes on; hence the half.
func enter(ctx context.Context, kinds ...chan struct{}) (leave func(), err error) {
	wait := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	taken := 0
	leave = func() {
		for _, slots := range kinds[:taken] {
			<-slots
		}
	}
	for _, slots := range kinds {
		select {
		case slots <- struct{}{}:
			taken++
		case <-wait.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return leave, context.Canceled
			}
			return leave, errors.New("too many requests to it are in progress")
		}
	}
	return leave, nil
}

// bulkhead returns the organization's bulkhead. There are as many as organizations
// in the registry. If there are more than that over time, one is forgotten for
// each new one, which closes its breaker.
func (g *guard) bulkhead(organization uuid.UUID) *bulkhead {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.bulkheads[organization]; b != nil {
		return b
	}
	for other := range g.bulkheads {
		if len(g.bulkheads) < maxBulkheads {
			break
		}
		delete(g.bulkheads, other)
	}
	b := &bulkhead{slots: make(chan struct{}, (cap(g.slots)+1)/2), breaker: newBreaker()}
	g.bulkheads[organization] = b
	return b
}

// newBreaker returns a breaker that opens after breakAfter failures in a row.
// After about breakFor it lets one caller probe the neighbour; if that succeeds it
// closes, else it stays open as long again. Jitter keeps replicas from probing all
// at once.
func newBreaker() *gobreaker.CircuitBreaker[struct{}] {
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakFor/2 + rand.N(breakFor), //nolint:gosec // jitter is no secret
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= breakAfter },
		IsSuccessful: func(err error) bool {
			_, outage := errors.AsType[*outageError](err)
			return !outage
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
}
