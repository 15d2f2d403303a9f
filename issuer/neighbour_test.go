package issuer_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/keys/jwk"
)

// An upstream is a server with the customer API. What it answers about anybody but
// Grace, who is another organization's, can be changed.
type upstream struct {
	address string
	trouble atomic.Pointer[http.HandlerFunc] // nil: none
	asked   atomic.Int64                     // while there is trouble
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	known := map[string]string{}
	for line := range strings.Lines(customerLines) {
		c, err := customers.Parse([]byte(line), customers.Defaults{CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		known["/v1/customers/"+c.ID.String()] = string(c.AppendJSON(nil))
	}
	u := &upstream{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if trouble := u.trouble.Load(); trouble != nil && !strings.Contains(r.URL.Path, foreignID) {
			u.asked.Add(1)
			(*trouble)(w, r)
			return
		}
		customer, ok := known[r.URL.Path]
		if !ok {
			http.Error(w, `{"error":"ResourceNotFound","detail":"Not found"}`, http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, customer)
	}))
	t.Cleanup(server.Close)
	u.address = server.URL
	return u
}

// TestOneOrganizationsTrouble: whatever one organization's callers and sessions
// make the customer directory answer, another one's sessions are created.
func TestOneOrganizationsTrouble(t *testing.T) {
	t.Parallel()
	create := func(body string) func(*testing.T, *fixture) func() *http.Request {
		return func(t *testing.T, f *fixture) func() *http.Request {
			t.Helper()
			return func() *http.Request {
				return f.request(t, http.MethodPost, createPath, body, "Authorization", "Bearer "+f.secret, "Content-Type", "application/json")
			}
		}
	}
	user := func(t *testing.T, f *fixture) func() *http.Request {
		t.Helper()
		token := f.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
		return func() *http.Request {
			return f.request(t, http.MethodGet, "/v1/customer-portal/customer-session/user", "", "Authorization", "Bearer "+token)
		}
	}
	says := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "<h1>innards</h1>", status)
		}
	}
	many := 1000
	if needs.Exhaustive() {
		many = 10_000
	}
	for _, test := range []struct {
		name    string
		trouble http.HandlerFunc
		request func(t *testing.T, f *fixture) func() *http.Request
		count   int
		want    int // status
	}{
		{"user, 429", says(http.StatusTooManyRequests), user, many, http.StatusServiceUnavailable},
		{"create, 429", says(http.StatusTooManyRequests), create(`{"customer_id":"` + customerID + `"}`), 100, http.StatusServiceUnavailable},
		{"create, an ID that makes it answer 500", says(http.StatusInternalServerError), create(`{"external_customer_id":"'"}`), 100, http.StatusServiceUnavailable},
		{"create, an ID that it cannot read", says(http.StatusBadRequest), create(`{"external_customer_id":"%"}`), 100, http.StatusUnprocessableEntity},
		{"create, 40,000 characters", says(http.StatusRequestURITooLong), create(`{"external_customer_id":"` + strings.Repeat("x", 40_000) + `"}`), 100, http.StatusUnprocessableEntity},
		{"create, 502", says(http.StatusBadGateway), create(`{"customer_id":"` + customerID + `"}`), 100, http.StatusServiceUnavailable},
		{"user, no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, user, 500, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUpstream(t)
			directory, err := customers.NewHTTP(customers.HTTPConfig{BaseURL: u.address, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t, func(o *fixtureOptions) { o.directory = directory })
			request := test.request(t, f)
			u.trouble.Store(&test.trouble)
			ended := flood(t, test.count, request, test.want)
			creates := 0
			for done := false; !done || creates < 10; creates++ {
				select {
				case <-ended:
					done = true
				default:
				}
				if a := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`); a.status != http.StatusCreated {
					t.Fatalf("another organization's create is answered with %d %s", a.status, a.body)
				}
			}
			t.Logf("%d requests asked the directory %d times; meanwhile, %d creates of another organization",
				test.count, u.asked.Load(), creates)
		})
	}
}

// flood sends requests, many at a time, and wants all to have one status. A server
// may also limit their rate.
func flood(t *testing.T, count int, request func() *http.Request, want int) (ended <-chan struct{}) {
	t.Helper()
	const workers = 100
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	var left atomic.Int64
	left.Store(int64(count))
	var senders sync.WaitGroup
	for range workers {
		senders.Go(func() {
			for left.Add(-1) >= 0 {
				response, err := client.Do(request())
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != want && response.StatusCode != http.StatusTooManyRequests {
					t.Errorf("got %d, want %d", response.StatusCode, want)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		senders.Wait()
		client.CloseIdleConnections()
		close(done)
	}()
	return done
}

// withDatabase makes a server's files name a database.
func withDatabase(t *testing.T, dsn string) *opened {
	t.Helper()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.Customers, o.settings.CustomersFile = "postgres", ""
	o.settings.CustomersDSNFile = filepath.Join(t.TempDir(), "dsn")
	write(t, o.settings.CustomersDSNFile, dsn)
	return o
}

// serve --check asks an HTTP server, which serve itself does not.
func TestCheckAsksAnHTTPServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.Customers, o.settings.CustomersFile, o.settings.CustomersURL = "http", "", server.URL
	err := o.open(t, nil).Check(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "by ID: it refuses the configured token (status 401)") {
		t.Errorf("got %v, want what is wrong", err)
	}
}

// A database that is away keeps no server from starting.
func TestOpenWithoutDatabase(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	address := listener.Addr().String()
	_ = listener.Close()
	o := withDatabase(t, "postgres://issuer:do-not-echo@"+address+"/shop")
	o.start(t, nil)
	o.await(t, `"level":"WARN","msg":"customer database is unavailable; starting without it","error":".*connection refused`)
	checkUnavailable(t, o.post(t, o.secret, `{"customer_id":"`+customerID+`"}`), "The customer directory is unavailable")
	if strings.Contains(o.logs.String(), "do-not-echo") {
		t.Error("the log has the password")
	}
}

// A database that refuses the password will refuse it tomorrow.
func TestOpenWithWrongPassword(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	t.Cleanup(func() { _ = listener.Close() })
	go refusePasswords(listener)
	o := withDatabase(t, "postgres://issuer:do-not-echo@"+listener.Addr().String()+"/shop?sslmode=disable")
	server, err := issuer.Open(context.WithoutCancel(t.Context()), o.settings, nil, nil)
	const want = "loading customers: asking the customer database: it refuses the connection: wrong user or password (SQLSTATE 28P01)"
	if err == nil || server != nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// refusePasswords answers as PostgreSQL does to a wrong password.
func refusePasswords(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		backend := pgproto3.NewBackend(connection, connection)
		if _, err := backend.ReceiveStartupMessage(); err == nil {
			backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: `do-not-echo`})
			_ = backend.Flush()
		}
		_ = connection.Close()
	}
}
