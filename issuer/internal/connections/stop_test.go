package connections_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/connections"
)

// A connection that was accepted gets its answer: Stop waits for new ones and for
// those with a request, not for idle ones.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 9, 9)
		_, idle := r.arrive("192.0.2.1")
		_, answered := r.arrive("192.0.2.2")
		_, closed := r.arrive("192.0.2.3")
		for _, c := range []http.ConnState{http.StateActive, http.StateIdle} {
			r.limit.Track(idle, c)
		}
		accepting := make(chan error, 1)
		go func() {
			_, err := r.limit.Accept()
			accepting <- err
		}()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- r.limit.Stop(t.Context()) }()
		synctest.Wait()
		for _, step := range []func(){
			func() { r.fake.errs <- errors.New("closed") },
			func() { r.limit.Track(answered, http.StateActive) },
			func() { _ = closed.Close() },
		} {
			step()
			synctest.Wait()
			if len(stopped) > 0 {
				t.Fatal("Stop did not wait")
			}
		}
		r.limit.Track(answered, http.StateIdle)
		if err := <-stopped; err != nil {
			t.Errorf("got %v, want no error", err)
		}
		for range 2 {
			if err := <-accepting; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Accept: got %v, want %v", err, http.ErrServerClosed)
			}
			_, err := r.limit.Accept()
			accepting <- err
		}
	})
}

// While Accept runs, it may return one more connection.
func TestStopWaitsForAccept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 9, 9)
		go func() { _, _ = r.limit.Accept() }()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- r.limit.Stop(t.Context()) }()
		synctest.Wait()
		if len(stopped) > 0 {
			t.Error("Stop did not wait")
		}
		r.fake.errs <- errors.New("closed")
		if err := <-stopped; err != nil {
			t.Errorf("got %v, want no error", err)
		}
	})
}

func TestStopGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 9, 9)
		r.arrive("192.0.2.1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.limit.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// The server closes the listener, too, on its way out and when it shuts down. An
// error would look like requests that were not finished.
func TestCloseAfterStop(t *testing.T) {
	t.Parallel()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := connections.New(inner, connections.Limits{Total: 1, PerClient: 1})
	if err := errors.Join(listener.Stop(t.Context()), listener.Close()); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}
