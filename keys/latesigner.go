package keys

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// awayPause is the least time between two attempts of [Ring.Away].
const awayPause = 10 * time.Second

// A lateSigner stands in for a signer that was away when its manifest was
// opened. A manifest must not wait for a device: it may bring the news that the
// device is lost. Each signature asks for the signer again until it is back;
// concurrent signatures share one attempt.
type lateSigner struct {
	open func() (Signer, error)

	mu      sync.Mutex
	signer  Signer
	err     error         // of the last attempt
	asked   time.Time     // when the last attempt ended
	opening chan struct{} // closed at the end of an attempt; nil when there is none
}

// Sign implements [Signer].
func (l *lateSigner) Sign(ctx context.Context, signingInput []byte) ([]byte, error) {
	signer, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return signer.Sign(ctx, signingInput)
}

//nolint:ireturn // open knows what it is
func (l *lateSigner) get(ctx context.Context) (Signer, error) {
	l.mu.Lock()
	signer := l.signer
	if signer == nil {
		l.begin()
	}
	attempt := l.opening
	l.mu.Unlock()
	if signer != nil {
		return signer, nil
	}
	select {
	case <-attempt:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrSignerAway, context.Cause(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.signer, l.err
}

// begin starts an attempt, unless one is under way. The caller holds mu.
func (l *lateSigner) begin() {
	if l.opening == nil {
		l.opening = make(chan struct{})
		go l.try(l.opening)
	}
}

func (l *lateSigner) try(attempt chan struct{}) {
	signer, err := l.open()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signer, l.err, l.asked, l.opening = signer, err, time.Now(), nil
	close(attempt)
}

// away returns why the last attempt failed, and starts another one if that was
// more than awayPause ago.
func (l *lateSigner) away() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signer == nil && time.Since(l.asked) >= awayPause {
		l.begin()
	}
	return l.err
}
