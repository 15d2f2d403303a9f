package connections_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/connections"
)

// newAsideRig has room for two connections of two clients, and for three that are
// set aside, two for each client.
func newAsideRig(t *testing.T) *rig {
	t.Helper()
	f := &fake{make(chan net.Conn, 1), make(chan error, 1)}
	return &rig{t, f, connections.New(f, connections.Limits{
		Total: 2, PerClient: 2, Patience: 5 * time.Second, Aside: 3, AsidePerClient: 2,
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})}
}

// request begins a request on a connection, and returns its context.
func (r *rig) request(c net.Conn) context.Context {
	r.limit.Track(c, http.StateActive)
	return connections.Context(r.t.Context(), c)
}

func (r *rig) setAside(ctx context.Context, want bool) {
	r.t.Helper()
	if got := connections.SetAside(ctx); got != want {
		r.t.Errorf("set aside: got %v, want %v", got, want)
	}
}

func (r *rig) counts(usual, aside int) {
	r.t.Helper()
	if open, _ := r.limit.Count(); open != usual || r.limit.CountAside() != aside {
		r.t.Errorf("got %d connections and %d set aside, want %d and %d", open, r.limit.CountAside(), usual, aside)
	}
}

// A connection that is set aside leaves its place to others, and they cannot close
// it.
func TestSetAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newAsideRig(t)
		first, c := r.arrive("192.0.2.1")
		ctx := r.request(c)
		r.setAside(ctx, true)
		r.setAside(ctx, true)
		r.counts(0, 1)
		time.Sleep(time.Minute)
		for range 5 {
			r.arrive("192.0.2.2")
		}
		r.want(true, first)
		r.counts(2, 1)
		_ = c.Close()
		r.want(false, first)
		r.counts(2, 0)
		r.setAside(ctx, false)
	})
}

// There are limits aside too. What waits for its next request makes room.
func TestAsideLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newAsideRig(t)
		var peers []*peer
		var conns []net.Conn
		for _, address := range []string{"192.0.2.1", "192.0.2.1"} {
			p, c := r.arrive(address)
			r.setAside(r.request(c), true)
			peers, conns = append(peers, p), append(conns, c)
		}
		_, third := r.arrive("192.0.2.1")
		r.setAside(r.request(third), false)
		r.counts(1, 2)
		_, other := r.arrive("192.0.2.2")
		r.setAside(r.request(other), true)
		_, proxy := r.arrive("10.0.0.1")
		ctx := r.request(proxy)
		r.setAside(ctx, false)
		r.want(true, peers...)
		r.limit.Track(conns[0], http.StateIdle)
		r.setAside(ctx, true)
		r.want(false, peers[0])
		r.want(true, peers[1])
		r.counts(1, 3)
	})
}

// A connection that is used for something else again counts like a new one.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newAsideRig(t)
		_, c := r.arrive("192.0.2.1")
		ctx := r.request(c)
		connections.TakeBack(ctx) // it was never set aside
		r.counts(1, 0)
		r.setAside(ctx, true)
		connections.TakeBack(ctx)
		r.counts(1, 0)
		r.setAside(ctx, true)
		busy, busyConn := r.arrive("192.0.2.2")
		busy2, busyConn2 := r.arrive("192.0.2.3")
		r.request(busyConn)
		r.request(busyConn2)
		connections.TakeBack(ctx)
		r.want(true, busy, busy2)
		r.counts(2, 0)
	})
}

// A head that is small enough for other connections is too long for one that was
// set aside, unless a proxy sends it.
func TestAsideHead(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]int{"192.0.2.1": http.StatusRequestHeaderFieldsTooLarge, "10.0.0.1": http.StatusOK} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			ours, theirs := net.Pipe()
			p := &piped{Conn: ours, from: &net.TCPAddr{IP: net.ParseIP(address)}}
			f := &fake{make(chan net.Conn, 1), make(chan error, 1)}
			f.coming <- p
			limit := connections.New(f, connections.Limits{
				Total: 1, PerClient: 1, Patience: time.Second, Aside: 1, AsidePerClient: 1,
				Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			})
			server := &http.Server{
				ConnState: limit.Track, ConnContext: connections.Context, ReadHeaderTimeout: time.Minute,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !connections.SetAside(r.Context()) {
						t.Error("there is no room aside")
					}
				}),
			}
			go func() { _ = server.Serve(limit) }()
			defer server.Close()
			client := newPipeClient(theirs)
			if got := client.get(t, ""); got != http.StatusOK {
				t.Errorf("got status %d", got)
			}
			if got := client.get(t, strings.Repeat("a", 5000)); got != want {
				t.Errorf("got status %d, want %d", got, want)
			}
			f.errs <- io.EOF
		})
	}
}
