package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// restTime is the time between two attempts to reach a token.
const restTime = time.Second

// A pool is the sessions with one token; it connects again when they are lost.
//
// A call of the library cannot be interrupted, so each use of a session has its
// own goroutine, and the end of the context only ends the wait for it. Permits
// bound both: a device that hangs holds at most as many goroutines as there are
// permits.
type pool struct {
	device  *Device
	token   tokenAddress
	permits chan struct{}
	// connecting is held while a goroutine connects.
	connecting chan struct{}

	mu      sync.Mutex
	current *connection // nil when there is none
	// failure is why the last use failed, or nil, and retryAt is when to connect
	// again.
	failure error
	retryAt time.Time
}

func newPool(d *Device, token tokenAddress) *pool {
	return &pool{
		device: d, token: token,
		permits: make(chan struct{}, d.config.Sessions), connecting: make(chan struct{}, 1),
	}
}

// do calls f with a session, and once more with a new one if the first was lost.
// It returns when the context ends, even if f still runs.
func do[T any](ctx context.Context, p *pool, f func(*connection, uint) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	if err := p.acquire(ctx); err != nil {
		return *new(T), err
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-p.permits }()
		var r result
		r.err = p.try(ctx, func(c *connection, session uint) (err error) {
			r.value, err = f(c, session)
			return err
		})
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return *new(T), fmt.Errorf("waiting for the device: %w", context.Cause(ctx))
	}
}

func (p *pool) acquire(ctx context.Context) error {
	select {
	case <-p.device.closing:
		return errClosed
	case <-ctx.Done():
	case p.permits <- struct{}{}:
		return nil
	}
	return fmt.Errorf("waiting for the device, whose %d sessions are all busy: %w", cap(p.permits), context.Cause(ctx))
}

func (p *pool) try(ctx context.Context, f func(*connection, uint) error) error {
	c, err := p.once(ctx, f)
	if c == nil || !lost(err) || ctx.Err() != nil {
		return err
	}
	c, err = p.once(ctx, f)
	if c != nil && lost(err) {
		p.rest(err)
	}
	return err
}

// once returns the connection that it used, or nil. It has dropped a connection
// that was lost.
func (p *pool) once(ctx context.Context, f func(*connection, uint) error) (*connection, error) {
	c, err := p.connection(ctx)
	if err != nil {
		return nil, err
	}
	session, err := c.take(ctx)
	if err == nil {
		err = f(c, session)
		c.put(session, err)
	}
	switch {
	case err == nil:
		p.recovered()
	case lost(err):
		p.drop(c)
	}
	return c, err
}

// connection returns the current connection, or a new one.
func (p *pool) connection(ctx context.Context) (*connection, error) {
	if c, err := p.known(); c != nil || err != nil {
		return c, err
	}
	select {
	case p.connecting <- struct{}{}:
		defer func() { <-p.connecting }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the connection to the device: %w", context.Cause(ctx))
	}
	// Another goroutine may have connected, or tried, in the meantime.
	if c, err := p.known(); c != nil || err != nil {
		return c, err
	}
	c, err := p.connect(ctx)
	if err != nil {
		if !errors.Is(err, context.Cause(ctx)) {
			p.rest(err)
		}
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = c
	return c, nil
}

// known returns the connection, or the error of the last attempt if it is too
// early for another one, or neither.
func (p *pool) known() (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil && p.failure != nil && time.Now().Before(p.retryAt) {
		return nil, fmt.Errorf("not trying again within a second: %w", p.failure)
	}
	return p.current, nil
}

// rest delays the next attempt, so that requests do not overload a device in
// trouble.
func (p *pool) rest(failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure, p.retryAt = failure, time.Now().Add(restTime)
}

// recovered forgets the failure.
func (p *pool) recovered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = nil
}

func (p *pool) connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current != nil
}

func (p *pool) troubled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure != nil
}

// drop forgets a connection, unless that is done already.
func (p *pool) drop(c *connection) {
	p.mu.Lock()
	if p.current == c {
		p.current = nil
	}
	p.mu.Unlock()
	c.close()
}

func (p *pool) connect(ctx context.Context) (*connection, error) {
	if p.troubled() {
		// Finding the token again and logging in again was not enough.
		if err := p.device.restart(p); err != nil {
			return nil, fmt.Errorf("initializing the PKCS #11 library: %w", err)
		}
	}
	slot, info, err := p.device.locate(p.token)
	if returned(err, codeNotInitialized) {
		// The device was away at first, or other code in this process
		// finalized the library.
		if err := p.device.initialize(); err != nil {
			return nil, fmt.Errorf("initializing the PKCS #11 library: %w", err)
		}
		slot, info, err = p.device.locate(p.token)
	}
	if err != nil {
		return nil, err
	}
	if info.Flags&flagLoginRequired != 0 && p.token.pinFile == "" {
		return nil, errNoPINFile
	}
	c := newConnection(p, slot, info)
	session, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	c.put(session, nil)
	return c, nil
}

var errHangs = errors.New("the device does not answer a call")

// close waits until no session is in use.
func (p *pool) close(ctx context.Context) error {
	for range cap(p.permits) {
		select {
		case p.permits <- struct{}{}:
		case <-ctx.Done():
			return errHangs
		}
	}
	if c, _ := p.known(); c != nil {
		p.drop(c)
	}
	return nil
}
