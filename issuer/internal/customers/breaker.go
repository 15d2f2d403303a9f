package customers

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	breakAfter = 5               // failures in a row
	breakFor   = 2 * time.Second // on average
)

// breaker is a circuit breaker: while a server is down, callers fail at once
// instead of after a timeout. It opens after breakAfter failures in a row. After
// about breakFor it lets one caller probe the server; if that succeeds it
// closes, else it stays open as long again. Jitter keeps replicas from probing
// all at once.
//
// The zero value is closed and ready.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // open until then; later, one caller probes
	probing  bool
}

// allow reports whether the caller may try. If so, it must call report.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if b.probing || time.Now().Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// outcome is what an attempt shows about the server.
type outcome int

const (
	noAnswer outcome = iota // the caller gave up; nothing is known
	alive
	dead
)

func (b *breaker) report(o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch o {
	case noAnswer:
	case alive:
		b.failures = 0
	case dead:
		b.failures++
		if b.failures >= breakAfter {
			b.until = time.Now().Add(breakFor/2 + rand.N(breakFor)) //nolint:gosec // jitter is no secret
		}
	}
}
