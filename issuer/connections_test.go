package issuer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A mob holds connections open, from many addresses, as clients do that want
// nobody else to have one.
type mob struct {
	addr  string
	conns []net.Conn
}

// attack opens connections, each with one of the ways to keep a server busy.
func (m *mob) attack(ctx context.Context, connections int) error {
	heads := []string{
		"",
		"GET /livez HTTP/1.1\r\nHost: x\r\nX-Padding: " + strings.Repeat("a", 15<<10),
		"GET /livez HTTP/1.1\r\nHost: x\r\nX-Padding: " + strings.Repeat("a", 30<<10),
		"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer csk_x\r\nContent-Length: 60000\r\n\r\n{",
		"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n" + manyLines(15<<10),
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n" + manyLines(4000),
		"GET / HTTP/1.1\r\nHost: x\r\n" + manyLines(700) + "X-Padding: " + strings.Repeat("a", 15<<10),
	}
	for n := range connections {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%64))}, Timeout: startLimit}
		conn, err := dialer.DialContext(ctx, "tcp", m.addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w", n, err)
		}
		m.conns = append(m.conns, conn)
		// The server may have closed it.
		_, _ = io.WriteString(conn, heads[n%len(heads)])
	}
	return nil
}

// manyLines is a header of so many bytes whose lines are as short as they can be.
func manyLines(size int) string {
	var b strings.Builder
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, "%x:\r\n", n)
	}
	return b.String()
}

func (m *mob) leave() {
	for _, conn := range m.conns {
		_ = conn.Close()
	}
}

// A server in 256 MiB survives thousands of idle and hostile connections, and
// everybody else is served all the while.
func TestServeMob(t *testing.T) {
	t.Parallel()
	connections := 3000
	if needs.Exhaustive() {
		connections = 10_000
	}
	p := serve(t, install(t, "https://sessions.example.com"), "GOMEMLIMIT=230MiB", "CUSTOMERSESSION_KEY_RATE=0")
	m := &mob{addr: strings.TrimPrefix(p.public.base, "http://")}
	defer m.leave()
	attacked := make(chan error, 1)
	go func() { attacked <- m.attack(t.Context(), connections) }()

	// Each on a connection of its own, as a checkout that comes anew.
	for done, last := false, false; !last; {
		last = done
		if a := p.public.createAlone(t); a != http.StatusCreated {
			t.Fatalf("creating a session amid the mob: %d", a)
		}
		if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
			t.Fatalf("readiness amid the mob: %d %s", a.status, a.body)
		}
		select {
		case err := <-attacked:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
	}
	if kib := peakKiB(t, p.process); kib > 256<<10 {
		t.Errorf("%d KiB were resident, want at most 256 MiB", kib)
	} else {
		t.Logf("%d connections: %d KiB were resident at most", connections, kib)
	}
	metrics := string(p.operations.do(t, http.MethodGet, "/metrics", "").body)
	for _, want := range []string{`customersession_connections_closed_total{limit="total"} `, "customersession_connections "} {
		if !strings.Contains(metrics, "\n"+want) || strings.Contains(metrics, "\n"+want+"0\n") {
			t.Errorf("want %s above 0 in the metrics", want)
		}
	}
}

// createAlone creates a session on a new connection, and returns the status.
func (f *fixture) createAlone(t testing.TB) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(f.base, "http://"), startLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"customer_id":"` + customerID + `"}`
	request := fmt.Sprintf("POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", f.secret, len(body), body)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// peakKiB is how much memory of a process was in RAM at most (proc(5)).
func peakKiB(t testing.TB, p *process) int {
	t.Helper()
	return statusKiB(t, p, "VmHWM")
}

// One address cannot have all connections.
func TestServeOneAddress(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"), "CUSTOMERSESSION_CONNECTIONS_PER_ADDRESS=10")
	first := openIdle(t, p.public.base)
	for range 10 {
		openIdle(t, p.public.base)
	}
	// The first made room for the last.
	if err := first.SetReadDeadline(time.Now().Add(startLimit)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the first connection closed", err)
	}
	if a := p.public.createAlone(t); a != http.StatusCreated {
		t.Errorf("creating a session: %d", a)
	}
}

func openIdle(t testing.TB, base string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(base, "http://"), startLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Nobody reads the rest of a body that was refused: the answer does not wait
// for it.
func TestRefusedBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.dial(t)
	start := time.Now()
	c.write(t, "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{")
	if a := c.answer(t); a.status != http.StatusUnauthorized {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the answer took %v, half of what a body may take", took)
	}
}
