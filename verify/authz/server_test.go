package authz_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

func TestNew(t *testing.T) {
	t.Parallel()
	v, err := verify.New(verifytest.NewIssuer(t, verifytest.Config{}).Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	for _, test := range []struct {
		name   string
		config authz.Config
		want   string
	}{
		{"nothing", authz.Config{}, "no Verifier"},
		{"a status that refuses", authz.Config{Verifier: v, Status: 401}, "status 401"},
		{"a status that sends elsewhere", authz.Config{Verifier: v, Status: 302}, "status 302"},
		{"only a verifier", authz.Config{Verifier: v}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := authz.New(test.config)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

// probe returns the status and the answer of a probe.
func probe(handler http.Handler, path string) string {
	response := ask(handler, http.MethodGet, path)
	var answer struct {
		Status, Keys     string
		LastError        string `json:"last_error"`
		Revocations      string
		RevocationsError string `json:"revocations_error"`
	}
	if err := json.Unmarshal(response.Body.Bytes(), &answer); err != nil {
		return strconv.Itoa(response.Code)
	}
	words := fmt.Sprintln(response.Code, answer.Status, answer.Keys, answer.LastError, answer.Revocations, answer.RevocationsError)
	return strings.Join(strings.Fields(words), " ")
}

func TestOperations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.Fail(verifytest.ServerError)
		operations := newServer(t, issuer, authz.Config{Metrics: http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		)}).Operations()
		check := func(path, want string) {
			t.Helper()
			if got := probe(operations, path); got != want {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
		}
		issuer.FailFeed(verifytest.FeedNotFound)
		check("/readyz", "503 unready unavailable status unavailable not_found")
		check("/livez", "200 ok")
		check("/metrics", "202")
		issuer.Fail(verifytest.Healthy)
		time.Sleep(time.Minute)
		check("/readyz", "503 unready fresh unavailable not_found")
		issuer.FailFeed(verifytest.FeedHealthy)
		time.Sleep(time.Minute)
		check("/readyz", "200 ok fresh fresh")
		// Nothing but probes, and the keys are still fetched.
		for range 6 * 60 {
			time.Sleep(10 * time.Minute)
			check("/readyz", "200 ok fresh fresh")
		}
		issuer.Fail(verifytest.Down)
		time.Sleep(10 * time.Minute)
		check("/readyz", "200 ok stale connection fresh")
	})
	other := newServer(t, verifytest.NewIssuer(t, verifytest.Config{}), authz.Config{}).Operations()
	if got := probe(other, "/metrics"); got != "404" {
		t.Errorf("without metrics: got %s, want 404", got)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// get returns the status of an answer and whether it ends its connection, or the
// error.
func get(url, token string) string {
	r := httptest.NewRequest(http.MethodGet, url, http.NoBody)
	r.RequestURI = ""
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "error"
	}
	defer response.Body.Close()
	if response.Close {
		return response.Status + " and close"
	}
	return response.Status
}

// A server that is told to stop goes on for the delay, and says that it is not
// ready.
func TestRun(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	server := newServer(t, issuer, authz.Config{})
	run := authz.RunConfig{Public: listen(t), Operations: listen(t), DrainDelay: time.Second}
	ask, ready := "http://"+run.Public.Addr().String(), "http://"+run.Operations.Addr().String()+"/readyz"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, run) }()
	token := issuer.Token(verifytest.TokenSpec{})
	if got := get(ask, token) + ", " + get(ready, ""); got != "204 No Content, 200 OK" {
		t.Errorf("got %s, want 204 and 200", got)
	}
	stop()
	for get(ready, "") == "200 OK" {
		continue // until it has heard of it
	}
	if got := get(ask, token) + ", " + get(ready, ""); got != "204 No Content and close, 503 Service Unavailable" {
		t.Errorf("while draining: got %s, want 204 and close, and 503", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := get(ask, token); got != "error" {
		t.Errorf("after the end: got %s, want an error", got)
	}
}

// Connections are bounded, and those above the bound wait.
func TestRunBoundsConnections(t *testing.T) {
	t.Parallel()
	run := authz.RunConfig{Public: listen(t)}
	addr := run.Public.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := newServer(t, verifytest.NewIssuer(t, verifytest.Config{}), authz.Config{})
	go func() { ended <- server.Run(ctx, run) }()
	open := make([]net.Conn, authz.MaxConnections)
	for i := range open {
		open[i] = dial(t, addr)
		if got := askOn(t, open[i], time.Minute); got != "HTTP/1.1 401" {
			t.Fatalf("connection %d: got %q", i+1, got)
		}
	}
	late := dial(t, addr)
	if got := askOn(t, late, 100*time.Millisecond); got != "" {
		t.Errorf("one too many: got %q", got)
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	if got := readStatus(t, late, time.Minute); got != "HTTP/1.1 401" {
		t.Errorf("when there is room: got %q", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// askOn sends a request and returns the beginning of the answer, empty if there
// is none in time.
func askOn(t *testing.T, conn net.Conn, patience time.Duration) string {
	t.Helper()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	return readStatus(t, conn, patience)
}

func readStatus(t *testing.T, conn net.Conn, patience time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	status := make([]byte, len("HTTP/1.1 401"))
	n, err := io.ReadFull(conn, status)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return string(status[:n])
}

// With one listener gone, the other one does not go on alone.
func TestRunFails(t *testing.T) {
	t.Parallel()
	run := authz.RunConfig{Public: listen(t), Operations: listen(t), DrainDelay: time.Hour}
	if err := run.Operations.Close(); err != nil {
		t.Fatal(err)
	}
	err := newServer(t, verifytest.NewIssuer(t, verifytest.Config{}), authz.Config{}).Run(t.Context(), run)
	if err == nil || !strings.Contains(err.Error(), run.Operations.Addr().String()) {
		t.Errorf("got error %v, want one that names the address", err)
	}
}
