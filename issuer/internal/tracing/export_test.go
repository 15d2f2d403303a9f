package tracing

import "net/http"

// What tests measure against.
const (
	MaxWaitingForTest = maxWaiting
	MaxAskedForTest   = maxAsked
)

// NewForTest is [New] with another way to the collector.
func NewForTest(config Config, transport http.RoundTripper) (*Tracer, error) {
	return newTracer(config, transport)
}
