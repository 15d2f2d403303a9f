package customers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

const (
	token    = "polar_oat_0123456789"
	notFound = `{"error":"ResourceNotFound","detail":"Not found"}`
)

// polar is a server that speaks the customer API, for the organization that
// the bearer token names.
func polar(t testing.TB) http.Handler {
	t.Helper()
	f := load(t, bytes.NewReader(population()))
	lines := map[string][]byte{}
	for line := range bytes.Lines(population()) {
		c, err := customers.Parse(line, customers.Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		lines[c.ID.String()] = line // deleted ones too, as the real one has them
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/customers/{id}", func(w http.ResponseWriter, r *http.Request) {
		line, ok := lines[r.PathValue("id")]
		if !ok {
			http.Error(w, notFound, http.StatusNotFound)
			return
		}
		_, _ = w.Write(line)
	})
	mux.HandleFunc("GET /v1/customers/external/{id}", func(w http.ResponseWriter, r *http.Request) {
		organization := uuid.MustParse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		c, err := f.Find(r.Context(), customers.Query{OrganizationID: organization, ExternalID: r.PathValue("id")})
		if err != nil {
			http.Error(w, notFound, http.StatusNotFound)
			return
		}
		_, _ = w.Write(c.AppendJSON(nil))
	})
	mux.HandleFunc("GET /v1/customers/{id}/members/{member}", func(w http.ResponseWriter, r *http.Request) {
		writeMember(w, lines[r.PathValue("id")], "id", r.PathValue("member"))
	})
	mux.HandleFunc("GET /v1/customers/external/{id}/members/{member}", func(w http.ResponseWriter, r *http.Request) {
		organization := uuid.MustParse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		c, err := f.Find(r.Context(), customers.Query{OrganizationID: organization, ExternalID: r.PathValue("id")})
		if err != nil {
			http.Error(w, notFound, http.StatusNotFound)
			return
		}
		writeMember(w, lines[c.ID.String()], "external_id", r.PathValue("member"))
	})
	return mux
}

// writeMember writes the member of a customer that has the ID, deleted ones too.
func writeMember(w http.ResponseWriter, line []byte, name, id string) {
	var customer struct{ Members []json.RawMessage }
	_ = json.Unmarshal(line, &customer)
	for _, member := range customer.Members {
		var names map[string]string
		if err := json.Unmarshal(member, &names); err == nil && names[name] == id {
			_, _ = w.Write(member)
			return
		}
	}
	http.Error(w, notFound, http.StatusNotFound)
}

// perOrganization asks the directory that has the organization's token.
type perOrganization map[uuid.UUID]*customers.HTTP

func (p perOrganization) Find(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	return p[q.OrganizationID].Find(ctx, q)
}

func (p perOrganization) FindMember(ctx context.Context, q customers.Query, c *customers.Customer) (*customers.Member, error) {
	return p[q.OrganizationID].FindMember(ctx, q, c)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(polar(t))
	t.Cleanup(server.Close)
	directory := perOrganization{}
	for _, organization := range []uuid.UUID{home, abroad} {
		directory[organization] = newHTTP(t, customers.HTTPConfig{
			BaseURL: server.URL + "/", Token: secret.Text(organization.String()),
		})
	}
	testDirectory(t, directory)
}

func newHTTP(t testing.TB, config customers.HTTPConfig) *customers.HTTP {
	t.Helper()
	h, err := customers.NewHTTP(config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHTTPSendsWhatTheServerExpects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, token, authorization, path string
		query                            customers.Query
	}{
		{"by ID", token, "Bearer " + token, "/api/v1/customers/" + ada.String(), customers.Query{OrganizationID: home, ID: ada, ExternalID: "x"}},
		{"by external ID", token, "Bearer " + token, "/api/v1/customers/external/a%2F..%2Fb%20%3F%23%25%C3%A9", customers.Query{OrganizationID: home, ExternalID: "a/../b ?#%é"}},
		{"without token", "", "", "/api/v1/customers/external/...", customers.Query{OrganizationID: home, ExternalID: "..."}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				http.Error(w, notFound, http.StatusNotFound)
			}))
			h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL + "/api/", Token: secret.Text(test.token)})
			_, err := h.Find(t.Context(), test.query)
			server.Close() // waits for the handler, which wrote got
			if !errors.Is(err, customers.ErrNotFound) {
				t.Errorf("error is %v, want ErrNotFound", err)
			}
			if got.Method != http.MethodGet || got.RequestURI != test.path || got.Header.Get("Authorization") != test.authorization {
				t.Errorf("got %s %s %v, want %s and %q", got.Method, got.RequestURI, got.Header, test.path, test.authorization)
			}
		})
	}
}

// Each attempt has the headers that are added on behalf of the call, beside
// those that are always sent.
func TestHTTPHeaders(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header)
		if len(got) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.Error(w, notFound, http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	type key struct{}
	h := newHTTP(t, customers.HTTPConfig{
		BaseURL: server.URL, Token: token,
		Headers: func(ctx context.Context, header http.Header) {
			value, _ := ctx.Value(key{}).(string)
			header.Set("Traceparent", value)
			header.Set("Authorization", "Bearer of another")
			header.Set("Accept", "text/html")
		},
	})
	ctx := context.WithValue(t.Context(), key{}, "of this call")
	_, err := h.Find(ctx, customers.Query{OrganizationID: home, ExternalID: "somebody"})
	if !errors.Is(err, customers.ErrNotFound) {
		t.Fatalf("got %v, want %v", err, customers.ErrNotFound)
	}
	if len(got) != 2 {
		t.Fatalf("there were %d attempts, want 2", len(got))
	}
	for _, header := range got {
		for name, want := range map[string]string{
			"Traceparent": "of this call", "Authorization": "Bearer " + token, "Accept": "application/json",
		} {
			if values := header.Values(name); len(values) != 1 || values[0] != want {
				t.Errorf("%s is %q, want %q", name, values, want)
			}
		}
	}
}

// TestHTTPTrouble: whatever the server does, the answer is right, comes soon,
// and takes no more attempts than it should.
func TestHTTPTrouble(t *testing.T) {
	t.Parallel()
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"x","detail":"do-not-echo"}`)
		}
	}
	says := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, code) }
	}
	write := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	customer := func(id, organization uuid.UUID) string {
		return fmt.Sprintf(`{"id":"%s","organization_id":"%s","created_at":"2026-01-02T03:04:05Z","email":"a@b"}`, id, organization)
	}
	good := write(customer(ada, home))
	// then makes a server that behaves differently the second time.
	then := func(first, later http.HandlerFunc) http.HandlerFunc {
		var calls atomic.Int64
		return func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				first(w, r)
				return
			}
			later(w, r)
		}
	}
	tests := []struct {
		name     string
		serve    http.HandlerFunc
		err      error // nil: found
		attempts int64
	}{
		{"good", good, nil, 1},
		{"hangs", hang, customers.ErrUnavailable, 3},
		{"hangs once", then(hang, good), nil, 2},
		{"hangs in the body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}, customers.ErrUnavailable, 3},
		{"trickles", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		}, customers.ErrUnavailable, 3},
		{"resets", reset, customers.ErrUnavailable, 3},
		{"resets once", then(reset, good), nil, 2},
		{"ends the body early", then(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
		}, good), nil, 2},
		{"429", status(429), customers.ErrUnavailable, 3},
		{"429 once", then(status(429), good), nil, 2},
		{"429 for longer than the budget", status(429, "Retry-After", "60"), customers.ErrUnavailable, 1},
		{"503 until a date far away", status(503, "Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT"), customers.ErrUnavailable, 1},
		{"503 until a date in the past", then(status(503, "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), good), nil, 2},
		{"503 with nonsense", then(status(503, "Retry-After", "-1"), good), nil, 2},
		{"502 once", then(status(502), good), nil, 2},
		{"504 once", then(status(504), good), nil, 2},
		{"500", status(500), customers.ErrUnavailable, 1},
		{"400", status(400), customers.ErrUnavailable, 1},
		{"401", status(401), customers.ErrUnavailable, 1},
		{"403", status(403), customers.ErrUnavailable, 1},
		{"404 of the API", says(404, notFound), customers.ErrNotFound, 1},
		{"404 of the API, with more", says(404, ` {"more":[1],"detail":null,"error":"ResourceNotFound"}`), customers.ErrNotFound, 1},
		{"404 of another API", status(404), customers.ErrUnavailable, 1},
		{"404 of a framework", says(404, `{"detail":"Not Found"}`), customers.ErrUnavailable, 1},
		{"404 page", says(404, "<h1>404 do-not-echo</h1>"), customers.ErrUnavailable, 1},
		{"404 without a body", says(404, ""), customers.ErrUnavailable, 1},
		{"404 list", says(404, "["+notFound+"]"), customers.ErrUnavailable, 1},
		{"410", status(410), customers.ErrUnavailable, 1},
		{"422 about the path", says(422, `{"error":"RequestValidationError","detail":[{"type":"uuid_parsing","loc":["path","id"],"msg":"do-not-echo"}]}`), customers.ErrNotFound, 1},
		{"422 about something else", says(422, `{"error":"RequestValidationError","detail":[{"type":"missing","loc":["query","id"],"msg":"do-not-echo"}]}`), customers.ErrUnavailable, 1},
		{"422 of another program", status(422), customers.ErrUnavailable, 1},
		{"422 page", says(422, "<h1>The change you wanted was rejected.</h1>"), customers.ErrUnavailable, 1},
		{"414", status(414), customers.ErrUnavailable, 1},
		{"431", status(431), customers.ErrUnavailable, 1},
		{"204", status(204), customers.ErrUnavailable, 1},
		{"201", status(201), customers.ErrUnavailable, 1},
		{"redirect to itself", status(302, "Location", "/v1/customers/"+ada.String()), customers.ErrUnavailable, 1},
		{"permanent redirect", status(308, "Location", "http://127.0.0.1:1/"), customers.ErrUnavailable, 1},
		{"garbage", write("\x00\xff<html>do-not-echo"), customers.ErrUnavailable, 1},
		{"nothing", write(""), customers.ErrUnavailable, 1},
		{"half a customer", write(`{"id":"` + ada.String() + `"}`), customers.ErrUnavailable, 1},
		{"huge", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		}, customers.ErrUnavailable, 1},
		{"just too long", write(customer(ada, home) + strings.Repeat(" ", 256<<10)), customers.ErrUnavailable, 1},
		{"long", write(customer(ada, home) + strings.Repeat(" ", 255<<10)), nil, 1},
		{"header of 12 KiB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 12<<10))
			good(w, r)
		}, nil, 1},
		{"header of 17 KiB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 17<<10))
			good(w, r)
		}, customers.ErrUnavailable, 3},
		{"other organization", write(customer(ada, abroad)), customers.ErrNotFound, 1},
		{"other customer", write(customer(eve, home)), customers.ErrUnavailable, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var attempts atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				attempts.Add(1)
				test.serve(w, r)
			}))
			t.Cleanup(server.Close)
			h := newHTTP(t, customers.HTTPConfig{
				BaseURL: server.URL, Token: token, Timeout: time.Second,
			})
			h.SetBudget(10 * time.Second)
			start := time.Now()
			c, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ID: ada})
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			if !errors.Is(err, test.err) || (err == nil) != (c != nil) {
				t.Errorf("got %v, %v, want the error %v", c, err, test.err)
			}
			if got := attempts.Load(); got != test.attempts {
				t.Errorf("%d attempts, want %d", got, test.attempts)
			}
			if _, ok := errors.AsType[*customers.ValidationError](err); ok {
				t.Errorf("%v would blame the caller", err)
			}
			for _, secret := range []string{token, "do-not-echo", ada.String()} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%v shows %s", err, secret)
				}
			}
		})
	}
}

// reset ends the connection with a TCP reset.
func reset(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}

func TestHTTPNobodyListens(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL})
	_, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ExternalID: "do-not-echo"})
	if !errors.Is(err, customers.ErrUnavailable) || strings.Contains(err.Error(), "do-not-echo") {
		t.Errorf("error is %v, want ErrUnavailable without the external ID", err)
	}
}

// TestHTTPReusesConnections: all calls in a row share one connection, those
// that fail included.
func TestHTTPReusesConnections(t *testing.T) {
	t.Parallel()
	good := polar(t)
	var calls, connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1)%3 == 0 {
			http.Error(w, strings.Repeat("x", 10_000), http.StatusInternalServerError)
			return
		}
		good.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL})
	failed := 0
	for i := range 60 {
		id := ada
		if i%2 == 0 {
			id = nobody
		}
		_, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ID: id})
		if errors.Is(err, customers.ErrUnavailable) {
			failed++
		}
	}
	if calls.Load() != 60 || failed != 20 || connections.Load() != 1 {
		t.Errorf("%d calls, %d failed, %d connections; want 60, 20, 1", calls.Load(), failed, connections.Load())
	}
}

// TestHTTPHangingServerHoldsFew: while the server hangs, few requests are under
// way at a time, and every caller gets its answer within the budget.
func TestHTTPHangingServerHoldsFew(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	var most peak
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		most.add(now.Add(1))
		defer now.Add(-1)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	h := newHTTP(t, customers.HTTPConfig{
		BaseURL: server.URL, Timeout: 400 * time.Millisecond,
	})
	start := time.Now()
	var callers sync.WaitGroup
	for range 10 * customers.MaxConcurrent {
		callers.Go(func() {
			_, err := h.Find(t.Context(), customers.Query{OrganizationID: home, ID: ada})
			if !errors.Is(err, customers.ErrUnavailable) {
				t.Errorf("error is %v, want ErrUnavailable", err)
			}
		})
	}
	callers.Wait()
	// The server may see the next request before it sees the end of the
	// one that timed out.
	if took := time.Since(start); took > 10*time.Second || most.value() > 2*customers.MaxConcurrent {
		t.Errorf("took %v with up to %d requests at a time", took, most.value())
	}
}

// peak is the highest of some numbers.
type peak struct {
	mu   sync.Mutex
	most int64
}

func (p *peak) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = max(p.most, n)
}

func (p *peak) value() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func TestNewHTTPRefuses(t *testing.T) {
	t.Parallel()
	const secret = "do-not-echo"
	tests := []struct {
		name   string
		config customers.HTTPConfig
	}{
		{"no URL", customers.HTTPConfig{}},
		{"no host", customers.HTTPConfig{BaseURL: "https:///v1"}},
		{"a path", customers.HTTPConfig{BaseURL: "/api"}},
		{"http over a network", customers.HTTPConfig{BaseURL: "http://api.example.com"}},
		{"http to something like loopback", customers.HTTPConfig{BaseURL: "http://localhost.example.com"}},
		{"other scheme", customers.HTTPConfig{BaseURL: "file:///etc/passwd"}},
		{"password", customers.HTTPConfig{BaseURL: "https://user:" + secret + "@example.com"}},
		{"password in a broken URL", customers.HTTPConfig{BaseURL: "https://user:" + secret + "@exa mple.com"}},
		{"query", customers.HTTPConfig{BaseURL: "https://example.com/?a=b"}},
		{"fragment", customers.HTTPConfig{BaseURL: "https://example.com/#a"}},
		{"token with a line break", customers.HTTPConfig{BaseURL: "https://example.com", Token: secret + "\n"}},
		{"negative timeout", customers.HTTPConfig{BaseURL: "https://example.com", Timeout: -1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, err := customers.NewHTTP(test.config)
			if err == nil || h != nil {
				t.Fatalf("NewHTTP = %v, %v, want an error", h, err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v shows a secret", err)
			}
		})
	}
	for _, good := range []string{"https://example.com", "https://example.com:8443/api/", "http://[::1]:80", "http://localhost", "http://127.1.2.3"} {
		if _, err := customers.NewHTTP(customers.HTTPConfig{BaseURL: good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func BenchmarkHTTPFind(b *testing.B) {
	server := httptest.NewServer(polar(b))
	defer server.Close()
	h := newHTTP(b, customers.HTTPConfig{BaseURL: server.URL})
	query := customers.Query{OrganizationID: home, ID: ada}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Find(b.Context(), query); err != nil {
				b.Error(err)
			}
		}
	})
}
