package connections_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/connections"
)

// A fake is a listener whose connections come from a test.
type fake struct {
	coming chan net.Conn
	errs   chan error
}

func (f *fake) Accept() (net.Conn, error) {
	select {
	case c := <-f.coming:
		return c, nil
	case err := <-f.errs:
		return nil, err
	}
}

func (*fake) Close() error   { return nil }
func (*fake) Addr() net.Addr { return &net.TCPAddr{} }

// A peer is a connection from an address.
type peer struct {
	net.Conn
	from   net.Addr
	sends  chan string
	sent   string // and not read yet
	closed atomic.Bool
}

func (p *peer) Read(b []byte) (int, error) {
	if p.sent == "" {
		text, open := <-p.sends
		if !open {
			return 0, io.EOF
		}
		p.sent = text
	}
	n := copy(b, p.sent)
	p.sent = p.sent[n:]
	return n, nil
}

func (p *peer) RemoteAddr() net.Addr { return p.from }

func (p *peer) Close() error {
	p.closed.Store(true)
	return nil
}

// A rig is a limited listener and what it accepted.
type rig struct {
	t     *testing.T
	fake  *fake
	limit *connections.Listener
}

func newRig(t *testing.T, total, perClient int) *rig {
	t.Helper()
	f := &fake{make(chan net.Conn, 1), make(chan error, 1)}
	return &rig{t, f, connections.New(f, connections.Limits{
		Total: total, PerClient: perClient, Patience: 5 * time.Second,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})}
}

// arrive opens a connection from an address, and a moment passes. The second
// result is what the server gets, nil if the connection was closed.
func (r *rig) arrive(address string) (*peer, net.Conn) {
	r.t.Helper()
	p := &peer{sends: make(chan string, 1), from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 4711))}
	r.fake.coming <- p
	var served net.Conn
	go func() {
		if c, err := r.limit.Accept(); err == nil {
			served = c
		}
	}()
	time.Sleep(time.Millisecond)
	synctest.Wait()
	if served == nil {
		// Accept waits for the next connection.
		r.fake.errs <- io.EOF
		synctest.Wait()
	}
	return p, served
}

func (r *rig) want(open bool, peers ...*peer) {
	r.t.Helper()
	for i, p := range peers {
		if p.closed.Load() == open {
			r.t.Errorf("connection %d from %v: open is %v, want %v", i, p.from, !open, open)
		}
	}
}

// At the limit, the connection that has waited longest goes; one with a request
// in progress stays.
func TestTotal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 3)
		busy, busyConn := r.arrive("192.0.2.1")
		r.limit.Track(busyConn, http.StateActive)
		idle, idleConn := r.arrive("192.0.2.2")
		r.limit.Track(idleConn, http.StateActive)
		fresh, _ := r.arrive("192.0.2.3")
		r.limit.Track(idleConn, http.StateIdle) // since later than fresh
		next, _ := r.arrive("192.0.2.4")
		r.want(false, fresh)
		r.want(true, busy, idle, next)
		last, _ := r.arrive("192.0.2.5")
		r.want(false, idle)
		r.want(true, busy, next, last)
		open, closed := r.limit.Count()
		if open != 3 || closed[connections.Total] != 2 || closed[connections.PerClient] != 0 {
			t.Errorf("got %d open, closed %v", open, closed)
		}
	})
}

// When all connections have a request, a new one is closed, unless a request
// takes too long.
func TestAllWorking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		first, c := r.arrive("192.0.2.1")
		r.limit.Track(c, http.StateActive)
		second, c := r.arrive("192.0.2.2")
		r.limit.Track(c, http.StateActive)
		third, _ := r.arrive("192.0.2.3")
		r.want(true, first, second)
		r.want(false, third)
		time.Sleep(5 * time.Second)
		fourth, _ := r.arrive("192.0.2.4")
		r.want(false, first)
		r.want(true, second, fourth)
	})
}

// A client at its limit makes room among its own connections.
func TestPerClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, 2)
		other, _ := r.arrive("198.51.100.1")
		first, _ := r.arrive("2001:db8::1")
		second, _ := r.arrive("2001:db8::2") // the same network
		third, _ := r.arrive("2001:db8::3")
		r.want(false, first)
		r.want(true, other, second, third)
		if open, closed := r.limit.Count(); open != 3 || closed[connections.PerClient] != 1 {
			t.Errorf("got %d open, closed %v", open, closed)
		}
		mapped, _ := r.arrive("::ffff:198.51.100.1")
		again, _ := r.arrive("198.51.100.1")
		r.want(false, other)
		r.want(true, mapped, again)
	})
}

// In all, the client with the most connections makes room: one that has a single
// connection keeps it, however long it takes to send its request.
func TestTotalIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 6, 5)
		single, _ := r.arrive("192.0.2.1")
		few, _ := r.arrive("192.0.2.2")
		few2, _ := r.arrive("192.0.2.2")
		for range 20 {
			r.arrive("198.51.100.7")
		}
		another, _ := r.arrive("192.0.2.3")
		r.want(true, single, few, few2, another)
	})
}

// That also holds while all of the others' connections have a request.
func TestTotalIsFairToWorking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 7, 3)
		single, _ := r.arrive("192.0.2.1")
		var mob []*peer
		for i := range 6 {
			p, c := r.arrive([]string{"198.51.100.7", "198.51.100.8"}[i%2])
			r.limit.Track(c, http.StateActive)
			mob = append(mob, p)
		}
		more, _ := r.arrive("198.51.100.9")  // its first
		again, _ := r.arrive("198.51.100.7") // it has as many as the others
		r.want(true, single, more)
		r.want(false, again)
		if n := slices.IndexFunc(mob, func(p *peer) bool { return p.closed.Load() }); n < 0 || n > 1 {
			t.Errorf("connection %d of the mob was closed, want the first of an address", n)
		}
		another, _ := r.arrive("192.0.2.2")
		r.want(true, single, more, another)
	})
}

// A proxy brings many clients.
func TestProxies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, 2)
		for range 50 {
			p, _ := r.arrive("::ffff:10.1.2.3")
			r.want(true, p)
		}
	})
}

// A place is free again when its connection is closed, whoever closes it.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1)
		for range 5 {
			p, c := r.arrive("192.0.2.1")
			_ = c.Close()
			_ = c.Close()
			r.limit.Track(c, http.StateClosed)
			r.want(false, p)
		}
		if open, closed := r.limit.Count(); open != 0 || closed[connections.PerClient] != 0 {
			t.Errorf("got %d open, closed %v", open, closed)
		}
	})
}

// Out of descriptors, the next connection has a place.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, 100)
		first, _ := r.arrive("192.0.2.1")
		second, _ := r.arrive("192.0.2.1")
		r.fake.errs <- fmt.Errorf("accept: %w", syscall.EMFILE)
		if _, err := r.limit.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("got %v, want what happened", err)
		}
		r.want(false, first)
		r.want(true, second)
	})
}

// The head of a request has a limited number of lines, however they come in. What
// comes after it is not counted.
func TestLinesOfAHead(t *testing.T) {
	t.Parallel()
	lines := func(n int) string { return strings.Repeat("a:\r\n", n) }
	const first, last = "GET / HTTP/1.1\r\n", "\r\n"
	for name, test := range map[string]struct {
		sent string
		open bool
	}{
		"usual":                     {first + lines(20) + last, true},
		"many":                      {first + lines(127) + last, true},
		"too many":                  {first + lines(128) + last, false},
		"too many, not at an end":   {first + lines(200) + "a", false},
		"too many, line feeds only": {first + strings.Repeat("a:\n", 128) + "\n", false},
		"one long line":             {first + "a:" + strings.Repeat("b", 10_000), true},
		"a body with many lines":    {first + lines(20) + last + strings.Repeat("\n", 1000), true},
	} {
		for _, size := range []int{1, 2, 3, 1000, 1 << 20} {
			t.Run(fmt.Sprint(name, "/", size), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p, c := newRig(t, 1, 1).arrive("192.0.2.1")
					go func() {
						defer close(p.sends)
						for part := range slices.Chunk([]byte(test.sent), size) {
							p.sends <- string(part)
						}
					}()
					// More than net/http reads.
					got, err := io.ReadAll(io.LimitReader(c, 64<<10))
					if text := string(got); (text == test.sent) != test.open || !test.open && !strings.HasSuffix(text, strings.Repeat("x", 32<<10)) {
						t.Errorf("got %d bytes, %v, want it open: %v", len(got), err, test.open)
					}
					for range p.sends {
					}
				})
			})
		}
	}
}

// A kept connection may send a head for each of its requests.
func TestLinesOfEachHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		p, c := r.arrive("192.0.2.1")
		defer close(p.sends)
		head := "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 100) + "\r\n"
		for range 3 {
			p.sends <- head
			if _, err := c.Read(make([]byte, len(head))); err != nil {
				t.Fatal(err)
			}
			r.limit.Track(c, http.StateActive)
			r.limit.Track(c, http.StateIdle)
		}
		p.sends <- "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 200)
		got := make([]byte, 4096)
		if _, err := c.Read(got); err != nil || strings.Contains(string(got), "a:") {
			t.Errorf("got %q, %v, want no line of it", got, err)
		}
	})
}

// Empty lines before a head are not its end. net/http skips them after a POST, whose
// sender may have added them to the body.
func TestLinesAfterEmptyOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, empty := range []string{"\r\n\r\n", "\n\n\n\n", "\n\r\n"} {
			r := newRig(t, 1, 1)
			p, c := r.arrive("192.0.2.1")
			r.limit.Track(c, http.StateActive)
			r.limit.Track(c, http.StateIdle)
			got := make([]byte, 4096)
			for _, test := range []struct {
				lines int
				open  bool
			}{{100, true}, {200, false}} {
				p.sends <- empty
				if _, err := c.Read(got); err != nil {
					t.Fatal(err)
				}
				p.sends <- "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", test.lines) + "\r\n"
				if n, err := c.Read(got); err != nil || strings.Contains(string(got[:n]), "a:") != test.open {
					t.Errorf("after %q, %d lines: got %q, %v", empty, test.lines, got[:n], err)
				}
				r.limit.Track(c, http.StateActive)
				r.limit.Track(c, http.StateIdle)
			}
			close(p.sends)
			_ = c.Close()
		}
	})
}
