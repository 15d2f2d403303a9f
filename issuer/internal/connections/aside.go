package connections

import (
	"context"
	"math"
	"net"
	"time"
)

// endless is a patience that does not end.
const endless = time.Duration(math.MaxInt64)

// maxAsideHead is how many bytes the head of a request may have on a connection
// that was set aside. There may be many of them, and net/http keeps some ten times
// as much.
const maxAsideHead = 4 << 10

type contextKey struct{}

// Context makes the connections known to [SetAside], as the ConnContext of the
// server.
func Context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// SetAside takes the connection of a request out of Total and PerClient, and counts
// it in Aside and AsidePerClient instead, until it is closed or [TakeBack]. It is
// for a request that waits: such a connection costs little, and there may be a lot
// of them. The result is false if there is no room for it. The context is that of
// the request; if the server has no listener of this package, nothing is limited.
//
// A connection that was set aside is closed for the sake of another only while it
// has no request. The head of its next requests may have 4 KiB, except of one from
// a proxy.
func SetAside(ctx context.Context) bool {
	c, ok := ctx.Value(contextKey{}).(*conn)
	if !ok {
		return true
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.share == nil:
		return false // it is closed
	case c.share == &l.aside:
		return true
	case l.aside.open >= l.aside.total && !l.aside.closeOne(anyOf, endless):
		return false
	case c.client.IsValid() && l.aside.clients[c.client] >= l.aside.perClient && !l.aside.closeOne(of(c.client), endless):
		return false
	}
	c.join(&l.aside, true)
	c.aside.Store(true)
	return true
}

// TakeBack counts the connection of a request in Total and PerClient again, as if
// it were new. Without room, it is closed.
func TakeBack(ctx context.Context) {
	c, ok := ctx.Value(contextKey{}).(*conn)
	if !ok || !c.aside.Load() {
		return
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.share != &l.aside {
		return // it is closed
	}
	c.aside.Store(false)
	if !l.hasRoom(c) {
		c.leave()
		return
	}
	c.join(&l.usual, true)
}

// CountAside returns how many connections are set aside.
func (l *Listener) CountAside() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aside.open
}
