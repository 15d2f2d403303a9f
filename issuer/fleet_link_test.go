package issuer_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A link is a connection of networks between clients and one server that can be
// cut. What is sent meanwhile arrives once the link is mended, as with TCP when
// packets are lost: neither side is told anything.
type link struct {
	address string // where clients connect
	server  string

	mu   sync.Mutex
	open chan struct{} // closed while the link is not cut
	ends []net.Conn    // of all connections; nil once the link is closed
}

func newLink(t testing.TB, server string) *link {
	t.Helper()
	listener := listen(t)
	l := &link{address: listener.Addr().String(), server: server, open: make(chan struct{}), ends: []net.Conn{}}
	close(l.open)
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { l.pass(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.close()
		passing.Wait()
	})
	return l
}

// cut cuts the link until it is mended.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.open)
}

// wait waits until the link is not cut.
func (l *link) wait() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

// pass passes on what a client and the server send each other.
func (l *link) pass(client net.Conn) {
	defer client.Close()
	l.wait()
	server, err := net.Dial("tcp", l.server)
	if err != nil || !l.own(client, server) {
		return
	}
	defer server.Close()
	var passing sync.WaitGroup
	passing.Go(func() { l.forward(server, client) })
	passing.Go(func() { l.forward(client, server) })
	passing.Wait()
}

// forward passes on what one side sends, and then its end.
func (l *link) forward(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.wait()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side may be gone already
	}
	_, _ = io.Copy(io.Discard, from)
}

// own takes note of the ends of a connection. It reports whether the link is not
// closed.
func (l *link) own(ends ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends == nil {
		return false
	}
	l.ends = append(l.ends, ends...)
	return true
}

// close ends the link and all of its connections.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
	for _, end := range l.ends {
		_ = end.Close() // it may be closed already
	}
	l.ends = nil
}
