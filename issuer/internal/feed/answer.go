package feed

import (
	"context"
	"time"
)

// A Query is what a consumer asks.
type Query struct {
	// Log and After are what it has heard: all up to a number. Zero: nothing.
	Log   string
	After int64
	// Gzip reports whether the answer may be compressed.
	Gzip bool
	// Pause is how long the consumer is to wait before it asks again.
	Pause time.Duration
}

// An Answer is for a consumer.
type Answer struct {
	// Body is JSON, shared with others. Gzip reports whether it is compressed.
	Body []byte
	Gzip bool

	began time.Time
}

// Age returns how old the answer is when it is written.
func (a *Answer) Age() time.Duration {
	if a.began.IsZero() {
		return 0 // there is no log to be behind
	}
	return age(a.began, time.Now())
}

// Wait waits until there is news for a consumer, ctx is done or stopping is closed.
func (f *Follower) Wait(ctx context.Context, q *Query, stopping <-chan struct{}) {
	f.mu.RLock()
	e, news := f.edition, f.news
	f.mu.RUnlock()
	// A consumer that has heard more than there is must ask for everything.
	if !e.enabled || e.position.Log != q.Log || q.After < e.news || q.After > e.position.Seq {
		return
	}
	select {
	case <-news:
	case <-stopping:
	case <-ctx.Done():
	}
}

// CatchUp has the log read if a consumer has heard more of it than this replica:
// another replica is ahead, or the log went back. It waits for up to 2 seconds, and
// not at all while the log is away. The error is ErrUnavailable if the consumer had
// better ask another replica.
func (f *Follower) CatchUp(ctx context.Context, q *Query) error {
	if f.config.Log == nil {
		return nil
	}
	asked := time.Now()
	// The caller of these two holds mu.
	behind := func() bool { return f.position.Log == q.Log && f.position.Seq < q.After }
	read := func() bool { return !behind() || f.began.After(asked) }
	f.mu.RLock()
	current, old := !behind(), f.tooOld(asked, f.config.MaxAge/2)
	f.mu.RUnlock()
	switch {
	case old:
		return ErrUnavailable
	case current:
		return nil
	}
	f.await(ctx, func() bool { return read() || f.failure != nil })
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !read() {
		return ErrUnavailable
	}
	return nil
}

// Large reports whether the answer to a query would cost more than others to make
// and to send.
func (f *Follower) Large(q *Query) bool {
	f.mu.RLock()
	e := f.edition
	f.mu.RUnlock()
	_, entries := e.find(q)
	return len(entries) > smallAnswer
}

// Answer returns the answer to a query. The error is ErrUnavailable if what is
// known is older than half of the maximum age, so that a consumer asks another
// replica while there is time.
func (f *Follower) Answer(q *Query) (Answer, error) {
	f.mu.RLock()
	e, began := f.edition, f.began
	old := e.enabled && f.tooOld(time.Now(), f.config.MaxAge/2)
	f.mu.RUnlock()
	if old {
		return Answer{}, ErrUnavailable
	}
	after, entries := e.find(q)
	a := e.answer(variant{after: after, pause: int64(q.Pause / time.Second), gzip: q.Gzip}, entries)
	return Answer{Body: a.body, Gzip: a.gzip, began: began}, a.err
}
