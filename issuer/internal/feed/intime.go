package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// grace is how much longer a call of the log may take to say why it failed.
const grace = 100 * time.Millisecond

// errHangs means that a call of the log has not ended with its context, as on a disk
// that does not answer: nothing ends that.
var errHangs = fmt.Errorf("%w: it does not answer in time", revocations.ErrUnavailable)

// A result is what a call of the log returns.
type result[T any] struct {
	value T
	err   error
}

// begin calls do on the side.
func begin[T any](do func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := do()
		done <- result[T]{value, err}
	}()
	return done
}

// inTime waits for what begin began, until a little after ctx is done. It reports
// whether that has ended.
func inTime[T any](ctx context.Context, done <-chan result[T]) (result[T], bool) {
	select {
	case r := <-done:
		return r, true
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r, true
	case <-time.After(grace):
		return result[T]{err: errHangs}, false
	}
}
