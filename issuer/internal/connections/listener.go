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
	"sync/atomic"
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
	// Aside and AsidePerClient are how many connections may be set aside beyond
	// Total and PerClient, see [SetAside].
	Aside, AsidePerClient int
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

	mu sync.Mutex
	// usual holds the connections within Total and PerClient, aside those that
	// were set aside.
	usual, aside share
	closed       map[string]int // by limit
	// owed is how many connections are new or have a request: they are owed an
	// answer.
	owed               int
	accepting, stopped bool
	quiet              chan struct{} // has a value when nothing is owed after Stop
}

// A share is connections that have limits in common.
type share struct {
	total, perClient int

	open    int
	clients map[netip.Prefix]int
	// waiting and working hold the connections without a complete request and
	// those with one, the longest in that state first.
	waiting, working list.List
}

// New returns a listener that accepts the connections of inner.
func New(inner net.Listener, limits Limits) *Listener {
	return &Listener{
		Listener: inner, limits: limits, closed: map[string]int{}, quiet: make(chan struct{}, 1),
		usual: share{total: limits.Total, perClient: limits.PerClient, clients: map[netip.Prefix]int{}},
		aside: share{total: limits.Aside, perClient: limits.AsidePerClient, clients: map[netip.Prefix]int{}},
	}
}

// Names of the limits, for metrics.
const (
	Total       = "total"
	PerClient   = "client"
	Descriptors = "descriptors" // of the process
)

// Count returns how many connections are open, without those that were set aside,
// and how many were closed at each limit.
func (l *Listener) Count() (open int, closed map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closed = map[string]int{}
	for _, limit := range []string{Total, PerClient, Descriptors} {
		closed[limit] = l.closed[limit]
	}
	return l.usual.open, closed
}

// A conn is an open connection.
type conn struct {
	net.Conn

	head     head
	listener *Listener
	client   netip.Prefix // zero for one that counts in all only
	share    *share       // nil when closed
	since    time.Time    // when it came into its list
	in       *list.List   // of share
	place    *list.Element
	owed     bool        // counts in the listener's owed
	aside    atomic.Bool // it was set aside
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
				_ = l.makeRoom(Descriptors, netip.Prefix{}) || l.aside.closeOne(anyOf, l.limits.Patience)
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
	if !l.hasRoom(c) {
		return nil
	}
	c.join(&l.usual, false)
	c.owe(true)
	return c
}

// hasRoom reports whether there is room for c among the usual connections, if need
// be after closing another one. The caller holds mu.
func (l *Listener) hasRoom(c *conn) bool {
	s := &l.usual
	if c.client.IsValid() && s.clients[c.client] >= s.perClient {
		l.closed[PerClient]++
		if !s.closeOne(of(c.client), l.limits.Patience) {
			return false
		}
	}
	return s.open < s.total || l.makeRoom(Total, c.client)
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
	s := &l.usual
	l.closed[limit]++
	most, count := netip.Prefix{}, 1
	for other, n := range s.clients {
		if n > count {
			most, count = other, n
		}
	}
	has := s.clients[client] // none, if it is a proxy
	if most.IsValid() {
		patience := l.limits.Patience
		if has+1 < count {
			patience = 0
		}
		if s.closeOne(of(most), patience) {
			return true
		}
	}
	return s.closeOne(func(c *conn) bool {
		return c.client == client || !c.client.IsValid() || s.clients[c.client] > has
	}, l.limits.Patience)
}

func anyOf(*conn) bool { return true }

func of(client netip.Prefix) func(*conn) bool {
	return func(c *conn) bool { return c.client == client }
}

// closeOne closes the connection that is first to go among some, and reports
// whether there was one. The caller holds mu.
func (s *share) closeOne(among func(*conn) bool, patience time.Duration) bool {
	for e := s.waiting.Front(); e != nil; e = e.Next() {
		if c := connAt(e); among(c) {
			c.leave()
			return true
		}
	}
	for e := s.working.Front(); e != nil; e = e.Next() {
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
	case c.share == nil:
	case state == http.StateActive:
		c.enter(&c.share.working)
		c.owe(true)
	case state == http.StateIdle:
		c.enter(&c.share.waiting)
		c.owe(false)
	}
}

// Read implements [net.Conn]. Once the header of a request has too many lines,
// there is only one more, without an end: [http.Server] answers that with 431.
func (c *conn) Read(b []byte) (int, error) {
	if !c.head.tooLong {
		n, err := c.Conn.Read(b)
		c.head.count(b[:n])
		if c.aside.Load() && c.client.IsValid() && c.head.size > maxAsideHead {
			c.head.tooLong = true
		}
		if !c.head.tooLong {
			return n, err
		}
	}
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// join counts c in a share from now on. The caller holds mu.
func (c *conn) join(s *share, working bool) {
	if c.share != nil {
		c.quit()
	}
	c.share = s
	s.open++
	if c.client.IsValid() {
		s.clients[c.client]++
	}
	if working {
		c.enter(&s.working)
	} else {
		c.enter(&s.waiting)
	}
}

// quit takes c out of its share. The caller holds mu.
func (c *conn) quit() {
	s := c.share
	c.in.Remove(c.place)
	c.share, c.in = nil, nil
	s.open--
	if s.clients[c.client]--; s.clients[c.client] <= 0 {
		delete(s.clients, c.client)
	}
}

// enter puts c at the end of a list of its share. The caller holds mu.
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
	if c.share != nil {
		c.quit()
		c.owe(false)
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
