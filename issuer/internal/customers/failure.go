package customers

import (
	"context"
	"errors"
	"net"
)

// timedOut reports whether there was no answer in time.
func timedOut(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && network.Timeout()
}
