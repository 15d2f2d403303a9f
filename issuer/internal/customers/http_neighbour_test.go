package customers_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// A server that refuses to read one external ID knows no customer by it.
func TestHTTPRefusesToReadAnExternalID(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge} {
		var attempts atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			attempts.Add(1)
			http.Error(w, "<h1>do-not-echo</h1>", status)
		}))
		t.Cleanup(server.Close)
		h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL})
		for range 10 {
			if _, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ExternalID: "odd\x7f"}); !errors.Is(err, customers.ErrNotFound) {
				t.Errorf("error with status %d is %v, want ErrNotFound", status, err)
			}
		}
		if attempts.Load() != 10 {
			t.Errorf("%d attempts with status %d, want 10", attempts.Load(), status)
		}
	}
}

// No server is asked for an external ID that no customer can have.
func TestHTTPLongExternalID(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		http.Error(w, notFound, http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL})
	for _, length := range []int{customers.MaxExternalID, customers.MaxExternalID + 1, 40_000} {
		query := customers.Query{OrganizationID: home, ExternalID: strings.Repeat("é", length)}
		if _, err := h.Find(t.Context(), query); !errors.Is(err, customers.ErrNotFound) {
			t.Errorf("error for %d characters is %v, want ErrNotFound", length, err)
		}
	}
	if attempts.Load() != 1 {
		t.Errorf("%d attempts, want 1, for the shortest", attempts.Load())
	}
}

// TestHTTPBreakerAndConnections: a server without a connection is left alone, one
// that ends the connection of a request is not.
func TestHTTPBreakerAndConnections(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(reset))
	t.Cleanup(up.Close)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for _, test := range []struct {
		name, address string
		leftAlone     bool
	}{{"resets", up.URL, false}, {"nobody listens", down.URL, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHTTP(t, customers.HTTPConfig{BaseURL: test.address})
			var err error
			for range 6 {
				_, err = h.Find(t.Context(), adaByID)
				if !errors.Is(err, customers.ErrUnavailable) {
					t.Errorf("error is %v, want ErrUnavailable", err)
				}
			}
			if got := strings.Contains(err.Error(), "repeatedly"); got != test.leftAlone {
				t.Errorf("error is %v; left alone is %t, want %t", err, got, test.leftAlone)
			}
		})
	}
}

// What comes back in the place of HTTP may quote the request. No error repeats it.
func TestHTTPErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	for name, format := range map[string]string{
		"echo": "%", "status line": "HTTP/1.1 %\r\n\r\n", "status": "HTTP/1.1 x% OK\r\n\r\n",
		"header": "HTTP/1.1 200 OK\r\n%\r\n\r\n", "length": "HTTP/1.1 200 OK\r\nContent-Length: %\r\n\r\n",
		"chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%\r\n",
		"encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: %\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := echo(t, format)
			h := newHTTP(t, customers.HTTPConfig{BaseURL: "http://" + address})
			_, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ExternalID: "do-not-echo"})
			if !errors.Is(err, customers.ErrUnavailable) || strings.Contains(err.Error(), "do-not-echo") {
				t.Errorf("error is %v, want ErrUnavailable without the external ID", err)
			}
		})
	}
}

// echo serves connections with format, the path of the request in the place of %.
func echo(t *testing.T, format string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			request, err := http.ReadRequest(bufio.NewReader(connection))
			if err == nil {
				_, _ = io.WriteString(connection, strings.ReplaceAll(format, "%", request.URL.Path))
			}
			_ = connection.Close()
		}
	}()
	return listener.Addr().String()
}

func TestHTTPCheck(t *testing.T) {
	t.Parallel()
	fixed := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, status) })
	}
	numbers := http.NewServeMux() // external IDs are numbers
	numbers.Handle("/v1/customers/", fixed(404, notFound))
	numbers.Handle("/v1/customers/external/", fixed(400, "a number, please"))
	tests := []struct {
		name  string
		serve http.Handler
		want  string // in the error
		now   bool   // it may pass
	}{
		{"good", fixed(404, notFound), "", false},
		{"numbers", numbers, "", false},
		{"wrong token", fixed(401, ""), "by ID: it refuses the configured token", false},
		{"another program", fixed(404, "<h1>404</h1>"), "check the base URL", false},
		{"everybody", fixed(200, "{}"), "check the base URL", false},
		{"cannot read anything", fixed(400, ""), "by ID: it refuses to read", false},
		{"internal error", fixed(500, ""), "status 500", false},
		{"ill", fixed(503, ""), "status 503", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.serve)
			t.Cleanup(server.Close)
			err := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL}).Check(t.Context())
			checkError(t, err, test.want, test.now)
		})
	}
}

// checkError checks what a Check returns.
func checkError(t *testing.T, err error, want string, passing bool) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("error is %v, want none", err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, customers.ErrUnavailable) != passing {
		t.Errorf("error is %v, want one with %q; ErrUnavailable is wanted: %t", err, want, passing)
	}
}
