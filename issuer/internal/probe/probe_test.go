package probe_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/probe"
)

func TestReady(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   string // in the error; empty for none
	}{
		{"ready", http.StatusOK, `{"status":"ok"}`, ""},
		{"ready with a warning", http.StatusOK, `{"status":"ok","warnings":["rotate the keys"]}`, ""},
		{
			"not ready", http.StatusServiceUnavailable, `{"status":"unready","reasons":["no key may sign","shutting down"]}`,
			"not ready: no key may sign; shutting down",
		},
		{"no reasons", http.StatusServiceUnavailable, `{"status":"unready"}`, "not ready: the answer is 503 Service Unavailable"},
		{"not ours", http.StatusNotFound, "404 page not found\n", "not ready: the answer is 404 Not Found"},
		{"elsewhere", http.StatusFound, "", "not ready: the answer is 302 Found"},
		{
			"endless", http.StatusServiceUnavailable, `{"reasons":["` + strings.Repeat("a", 1<<17) + `"]}`,
			"not ready: the answer is 503 Service Unavailable",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("got a request for %s, want no other page", r.URL.Path)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			err := probe.Ready(t.Context(), server+"/readyz")
			if got := message(err); got != test.want {
				t.Errorf("got error %q, want %q", got, test.want)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	over, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	tests := []struct {
		name, url, want string
		ctx             context.Context //nolint:containedctx // a case of a table
	}{
		{"nobody listens", gone.URL, "connection refused", t.Context()},
		{"no answer in time", slow, "context deadline exceeded", over},
		{"no URL", "localhost 9090", "asking for readiness", t.Context()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := probe.Ready(test.ctx, test.url)
			if got := message(err); !strings.Contains(got, test.want) {
				t.Errorf("got error %q, want one with %q", got, test.want)
			}
		})
	}
}

// serve starts a server for the length of the test and returns its URL.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
