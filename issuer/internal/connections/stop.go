package connections

import (
	"context"
	"errors"
)

// Stop stops accepting, and waits until every connection that was accepted has its
// answer, or ctx is done. [http.Server.Shutdown] alone closes a connection whose
// first request it has not read yet, or just has, without an answer.
func (l *Listener) Stop(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	l.report()
	l.mu.Unlock()
	err := l.Close()
	select {
	case <-l.quiet:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

func (l *Listener) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

func (l *Listener) enterAccept() (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepting = !l.stopped
	return l.accepting
}

func (l *Listener) leaveAccept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepting = false
	l.report()
}

// report lets Stop return once nothing is owed. The caller holds mu.
func (l *Listener) report() {
	if !l.stopped || l.accepting || l.owed > 0 {
		return
	}
	select {
	case l.quiet <- struct{}{}:
	default: // it was reported before
	}
}

// owe notes whether an answer is owed. The caller holds mu.
func (c *conn) owe(answer bool) {
	if c.owed == answer {
		return
	}
	c.owed = answer
	if answer {
		c.listener.owed++
		return
	}
	c.listener.owed--
	c.listener.report()
}
