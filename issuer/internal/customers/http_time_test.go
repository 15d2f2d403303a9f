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

// TestHTTPBreakerAndRefusals: a server that answers is not down, whatever it
// answers.
func TestHTTPBreakerAndRefusals(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusFound} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			h := behind(t, func(*http.Request) (*http.Response, error) {
				attempts++
				return answer(status, nil, "")
			})
			for range 20 {
				_, _ = timed(t.Context(), h)
			}
			if attempts != 20 {
				t.Errorf("%d attempts with status %d, want 20", attempts, status)
			}
		})
	}
}
