package customers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// The tests of this file run in a bubble of synctest, where time passes at
// once. Real sockets do not work there, so the server is a RoundTripper.

type server func(*http.Request) (*http.Response, error)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func hanging(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func answer(status int, header http.Header, body string) (*http.Response, error) {
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

func goodAnswer() (*http.Response, error) {
	return answer(http.StatusOK, nil, `{"id":"`+ada.String()+`","organization_id":"`+home.String()+
		`","created_at":"2026-01-02T03:04:05Z","email":"a@b"}`)
}

func behind(t *testing.T, s server) *customers.HTTP {
	t.Helper()
	h := newHTTP(t, customers.HTTPConfig{BaseURL: "https://example.com"})
	h.SetTransport(s)
	return h
}

var adaByID = customers.Query{OrganizationID: home, ID: ada}

// timed is how long a call takes, and its error.
func timed(ctx context.Context, h *customers.HTTP) (time.Duration, error) {
	start := time.Now()
	_, err := h.Find(ctx, adaByID)
	return time.Since(start), err
}

func TestHTTPBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := behind(t, hanging)
		took, err := timed(t.Context(), h)
		if !errors.Is(err, customers.ErrUnavailable) || took > 3*time.Second || took < 2*time.Second {
			t.Errorf("took %v, error is %v; want more than one attempt in 3 s at most", took, err)
		}
	})
}

func TestHTTPCallerGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		hangs.Store(true)
		h := behind(t, func(r *http.Request) (*http.Response, error) {
			if hangs.Load() {
				return hanging(r)
			}
			return goodAnswer()
		})
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			if took, err := timed(ctx, h); took != 100*time.Millisecond || !errors.Is(err, context.Canceled) {
				t.Errorf("took %v, error is %v; want to end with the caller", took, err)
			}
		}
		hangs.Store(false)
		if _, err := timed(t.Context(), h); err != nil {
			t.Errorf("callers that gave up are held against the server: %v", err)
		}
	})
}

func TestHTTPRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, value string
		from, to    time.Duration
		attempts    int
	}{
		{"seconds", "2", 2 * time.Second, 2 * time.Second, 2},
		{"date", "Sat, 01 Jan 2000 00:00:01 GMT", time.Second, time.Second, 2},
		{"too late", "3", 0, 0, 1},
		{"none", "", 0, 100 * time.Millisecond, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				h := behind(t, func(*http.Request) (*http.Response, error) {
					attempts++
					if attempts == 1 {
						return answer(http.StatusTooManyRequests, http.Header{"Retry-After": {test.value}}, "")
					}
					return goodAnswer()
				})
				took, err := timed(t.Context(), h)
				if took < test.from || took > test.to || attempts != test.attempts || (err == nil) != (attempts == 2) {
					t.Errorf("%d attempts in %v, error is %v", attempts, took, err)
				}
			})
		})
	}
}

// TestHTTPBreaker: a server that is down is left alone, asked by one caller
// now and then, and used again when it answers.
func TestHTTPBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int64
		var up atomic.Bool
		h := behind(t, func(r *http.Request) (*http.Response, error) {
			attempts.Add(1)
			if up.Load() {
				return goodAnswer()
			}
			return hanging(r)
		})
		all := func() time.Duration {
			var callers sync.WaitGroup
			var slowest peak
			for range 50 {
				callers.Go(func() {
					took, err := timed(t.Context(), h)
					if !errors.Is(err, customers.ErrUnavailable) {
						t.Errorf("error is %v, want ErrUnavailable", err)
					}
					slowest.add(int64(took))
				})
			}
			callers.Wait()
			return time.Duration(slowest.value())
		}
		if slowest := all(); slowest > 3*time.Second {
			t.Errorf("the first callers waited %v", slowest)
		}
		time.Sleep(time.Millisecond)
		attempts.Store(0)
		if slowest := all(); slowest != 0 || attempts.Load() != 0 {
			t.Errorf("the next callers waited %v, %d attempts", slowest, attempts.Load())
		}
		time.Sleep(3 * time.Second)
		if all(); attempts.Load() != 1 {
			t.Errorf("%d probes, want 1", attempts.Load())
		}
		up.Store(true)
		time.Sleep(3 * time.Second)
		if took, err := timed(t.Context(), h); err != nil || took != 0 {
			t.Errorf("took %v, error is %v, want it healthy again", took, err)
		}
		attempts.Store(0)
		for range 10 {
			if _, err := timed(t.Context(), h); err != nil {
				t.Errorf("error is %v, want it healthy again", err)
			}
		}
		if attempts.Load() != 10 {
			t.Errorf("%d attempts, want 10", attempts.Load())
		}
	})
}

// TestHTTPBreakerAndAnswers: a server that answers is not ill, unless it says so.
func TestHTTPBreakerAndAnswers(t *testing.T) {
	t.Parallel()
	const calls = 20
	tests := map[int]int{ // status: attempts
		200: calls, 302: calls, 400: calls, 401: calls, 403: calls, 404: calls, 410: calls, 414: calls, 422: calls,
		429: calls, 431: calls, 500: calls, 501: calls, 505: calls,
		502: 5, 503: 5, 504: 5,
	}
	for status, want := range tests {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			h := behind(t, func(*http.Request) (*http.Response, error) {
				attempts++
				return answer(status, http.Header{"Retry-After": {"60"}}, "") // prevents retries
			})
			for range calls {
				_, _ = timed(t.Context(), h)
			}
			if attempts != want {
				t.Errorf("%d attempts with status %d, want %d", attempts, status, want)
			}
		})
	}
}

var eveByID = customers.Query{OrganizationID: abroad, ID: eve}

// One organization's callers, for which the server hangs, take nothing from those
// of another one: neither the connections nor the breaker.
func TestHTTPOrganizationsApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := behind(t, func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, ada.String()) {
				return hanging(r)
			}
			return answer(http.StatusNotFound, nil, notFound)
		})
		var callers sync.WaitGroup
		for range 10 * customers.MaxConcurrent {
			callers.Go(func() {
				if _, err := timed(t.Context(), h); !errors.Is(err, customers.ErrUnavailable) {
					t.Errorf("error is %v, want ErrUnavailable", err)
				}
			})
		}
		ended := make(chan struct{})
		go func() { callers.Wait(); close(ended) }()
		for done := false; !done; {
			synctest.Wait()
			start := time.Now()
			if _, err := h.Find(t.Context(), eveByID); !errors.Is(err, customers.ErrNotFound) || time.Since(start) != 0 {
				t.Errorf("another organization waits %v and gets %v", time.Since(start), err)
			}
			select {
			case <-ended:
				done = true
			case <-time.After(100 * time.Millisecond):
			}
		}
		if _, err := timed(t.Context(), h); err == nil || !strings.Contains(err.Error(), "repeatedly") {
			t.Errorf("error is %v; a server that hangs should be left alone", err)
		}
		if _, err := h.Find(t.Context(), eveByID); !errors.Is(err, customers.ErrNotFound) {
			t.Errorf("another organization gets %v", err)
		}
	})
}

// TestHTTPProbeGivesUp: the probe of an open breaker shows nothing when its caller
// gives up, and the next caller may probe.
func TestHTTPProbeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		var attempts atomic.Int64
		hangs.Store(true)
		h := behind(t, func(r *http.Request) (*http.Response, error) {
			attempts.Add(1)
			if hangs.Load() {
				return hanging(r)
			}
			return goodAnswer()
		})
		for range 5 {
			_, _ = timed(t.Context(), h)
		}
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(100*time.Millisecond, cancel)
		if took, err := timed(ctx, h); took != 100*time.Millisecond || !errors.Is(err, context.Canceled) {
			t.Errorf("took %v, error is %v; want a probe that ends with its caller", took, err)
		}
		attempts.Store(0)
		for range 10 {
			_, _ = timed(t.Context(), h)
		}
		if attempts.Load() != 1 {
			t.Errorf("%d attempts, want the next caller, and only that, to probe", attempts.Load())
		}
		time.Sleep(3 * time.Second)
		hangs.Store(false)
		if _, err := timed(t.Context(), h); err != nil {
			t.Errorf("error is %v, want the next caller to probe", err)
		}
	})
}

// The state of organizations is bounded, however many there are over time.
func TestHTTPManyOrganizations(t *testing.T) {
	t.Parallel()
	h := behind(t, func(*http.Request) (*http.Response, error) { return answer(http.StatusNotFound, nil, notFound) })
	for range 2 * customers.MaxBulkheads {
		if _, err := h.Find(t.Context(), customers.Query{OrganizationID: uuid.New(), ID: ada}); !errors.Is(err, customers.ErrNotFound) {
			t.Fatalf("error is %v, want ErrNotFound", err)
		}
	}
	if got := h.Bulkheads(); got > customers.MaxBulkheads {
		t.Errorf("%d organizations are kept, want at most %d", got, customers.MaxBulkheads)
	}
}
