// Package connections bounds how many connections a server holds, in all and
// from one client, so that clients that open connections and leave them cannot
// keep others out or use up the memory.
package connections

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/customersession/customersession/issuer/internal/ratelimit"
)

// Limits are the limits of a [Listener].
type Limits struct {
	// Total and PerClient are how many connections may be open, in all and from
	// one client, as [ratelimit.ClientKey] tells clients apart.
	Total, PerClient int
	// Proxies are networks whose connections count in all only, since each is
	// for many clients.
	Proxies []netip.Prefix
	// Patience is how long a request may be worked on before its connection may
	// be closed for the sake of another.
	Patience time.Duration
}

// A Listener accepts connections within its limits. At a limit, it makes room
// for a new connection: it closes the one that has gone longest without a
// complete request, or else one whose request takes longer than the patience.
// Without either it closes the new one. In all, the client with the most
// connections makes room first, if need be without patience, and never one with
// fewer than the client of the new connection, so that a client with a single one
// keeps it while others open hundreds. Set [Listener.Track] as the ConnState of the
// server. It is safe for concurrent use.
type Listener struct {
	net.Listener

	limits Limits

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]int
	// waiting and working hold the connections without a complete request and
	// those with one, the longest in that state first.
	waiting, working list.List
	closed           map[string]int // by limit
	// owed is how many connections are new or have a request: they are owed an
	// answer.
	owed               int
	accepting, stopped bool
	quiet              chan struct{} // has a value when nothing is owed after Stop
}

// New returns a listener that accepts the connections of inner.
func New(inner net.Listener, limits Limits) *Listener {
	return &Listener{Listener: inner, limits: limits, clients: map[netip.Prefix]int{}, closed: map[string]int{}, quiet: make(chan struct{}, 1)}
}

// Names of the limits, for metrics.
const (
	Total       = "total"
	PerClient   = "client"
	Descriptors = "descriptors" // of the process
)

// Count returns how many connections are open, and how many were closed at each
// limit.
func (l *Listener) Count() (open int, closed map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closed = map[string]int{}
	for _, limit := range []string{Total, PerClient, Descriptors} {
		closed[limit] = l.closed[limit]
	}
	return l.open, closed
}

// A conn is an open connection.
type conn struct {
	net.Conn

	head     head
	listener *Listener
	client   netip.Prefix // zero for one that counts in all only
	since    time.Time    // when it came into its list
	in       *list.List   // nil when closed
	place    *list.Element
	owed     bool // counts in the listener's owed
}

// Accept implements [net.Listener]. After [Listener.Stop] it returns
// [http.ErrServerClosed].
func (l *Listener) Accept() (net.Conn, error) {
	if !l.enterAccept() {
		return nil, http.ErrServerClosed
	}
	defer l.leaveAccept()
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			// Out of descriptors, there is no room for the new connection, but
			// there may be for the next.
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				l.mu.Lock()
				l.makeRoom(Descriptors, netip.Prefix{})
				l.mu.Unlock()
			}
			if l.isStopped() {
				err = http.ErrServerClosed
			}
			return nil, err
		}
		if c := l.admit(inner); c != nil {
			return c, nil
		}
		_ = inner.Close()
	}
}

// Close implements [net.Listener]. Closing it again is no error: the server does,
// after Stop did.
func (l *Listener) Close() error {
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// admit returns the connection to serve, or nil if there is no room for it.
func (l *Listener) admit(inner net.Conn) net.Conn {
	c := &conn{Conn: inner, listener: l, client: l.client(inner)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.client.IsValid() && l.clients[c.client] >= l.limits.PerClient {
		l.closed[PerClient]++
		if !l.closeOne(of(c.client), l.limits.Patience) {
			return nil
		}
	}
	if l.open >= l.limits.Total && !l.makeRoom(Total, c.client) {
		return nil
	}
	l.open++
	if c.client.IsValid() {
		l.clients[c.client]++
	}
	c.enter(&l.waiting)
	c.owe(true)
	return c
}

// client returns the client that a connection counts for, or the zero Prefix.
func (l *Listener) client(c net.Conn) netip.Prefix {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	for _, proxy := range l.limits.Proxies {
		if proxy.Contains(addr) {
			return netip.Prefix{}
		}
	}
	return ratelimit.ClientKey(addr)
}

// makeRoom closes a connection at a limit that all clients share, for one of a
// client, and reports whether there was one to close. Otherwise, the new one is. The
// caller holds mu.
func (l *Listener) makeRoom(limit string, client netip.Prefix) bool {
	l.closed[limit]++
	most, count := netip.Prefix{}, 1
	for other, n := range l.clients {
		if n > count {
			most, count = other, n
		}
	}
	has := l.clients[client] // none, if it is a proxy
	if most.IsValid() {
		patience := l.limits.Patience
		if has+1 < count {
			patience = 0
		}
		if l.closeOne(of(most), patience) {
			return true
		}
	}
	return l.closeOne(func(c *conn) bool {
		return c.client == client || !c.client.IsValid() || l.clients[c.client] > has
	}, l.limits.Patience)
}

func of(client netip.Prefix) func(*conn) bool {
	return func(c *conn) bool { return c.client == client }
}

// closeOne closes the connection that is first to go among some, and reports
// whether there was one. The caller holds mu.
func (l *Listener) closeOne(among func(*conn) bool, patience time.Duration) bool {
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		if c := connAt(e); among(c) {
			c.leave()
			return true
		}
	}
	for e := l.working.Front(); e != nil; e = e.Next() {
		c := connAt(e)
		if time.Since(c.since) < patience {
			break
		}
		if among(c) {
			c.leave()
			return true
		}
	}
	return false
}

func connAt(e *list.Element) *conn {
	return e.Value.(*conn) //nolint:forcetypeassert // nothing else is in the lists
}

// Track follows the state of a connection, for [http.Server].
func (l *Listener) Track(tracked net.Conn, state http.ConnState) {
	c, ok := tracked.(*conn)
	if !ok {
		return
	}
	c.head.track(state)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.in == nil:
	case state == http.StateActive:
		c.enter(&l.working)
		c.owe(true)
	case state == http.StateIdle:
		c.enter(&l.waiting)
		c.owe(false)
	}
}

// Read implements [net.Conn]. Once the header of a request has too many lines,
// there is only one more, without an end: [http.Server] answers that with 431.
func (c *conn) Read(b []byte) (int, error) {
	if !c.head.tooLong {
		n, err := c.Conn.Read(b)
		if c.head.count(b[:n]); !c.head.tooLong {
			return n, err
		}
	}
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// enter puts c at the end of a list. The caller holds mu.
func (c *conn) enter(in *list.List) {
	if c.in != nil {
		c.in.Remove(c.place)
	}
	c.in, c.since = in, time.Now()
	c.place = in.PushBack(c)
}

// leave closes c, and counts it no longer. The caller holds mu.
func (c *conn) leave() {
	_ = c.Conn.Close()
	if c.in == nil {
		return
	}
	c.in.Remove(c.place)
	c.in = nil
	c.owe(false)
	l := c.listener
	l.open--
	if l.clients[c.client]--; l.clients[c.client] <= 0 {
		delete(l.clients, c.client)
	}
}

// CloseWrite lets [http.Server] end an answer before it closes the connection, so
// that a client that is still sending can read it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.leave()
	return nil
}
