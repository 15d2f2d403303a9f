//go:build unix

package kubesecret_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/kubesecret"
)

// A cutter stands in front of an API server, and cuts the connections of
// requests with one method.
type cutter struct {
	kube    *kube
	address string // of the API server
	method  string
	place   place
	meet    func() // if set, runs before the request is forwarded
	server  *httptest.Server
}

// A place is where a connection is cut.
type place int

const (
	nowhere          place = iota
	beforeConnection       // is made, once a request to read was answered
	beforeRequest          // reaches the API server
	beforeAnswer           // of the API server
	amidAnswer             // after the status and a half of the body
)

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	met := r.Method == c.method
	if c.place == beforeConnection {
		_ = c.server.Listener.Close()
	}
	if met && c.place == beforeRequest {
		panic(http.ErrAbortHandler)
	}
	if met && c.meet != nil {
		c.meet()
	}
	forward := r.Clone(r.Context())
	forward.RequestURI, forward.URL.Scheme, forward.URL.Host = "", "https", c.address
	response, err := c.kube.http.Do(forward)
	if err != nil || met && c.place == beforeAnswer {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	if met && c.place == amidAnswer {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// serve returns the URL of the cutter.
func (c *cutter) serve(t *testing.T) string {
	t.Helper()
	certificate, key, err := c.kube.authority.issue("cutter")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(c)
	c.server = server
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// behind is the Secret "keys" as admin sees it through the cutter.
func (c *cutter) behind(t *testing.T, namespace string) *kubesecret.Secret {
	t.Helper()
	return mustNew(t, kubesecret.Config{
		Namespace: namespace, Name: "keys", Kubeconfig: c.kube.kubeconfig(t, c.serve(t), "admin"),
	})
}

const mayBeWritten = "may have been written all the same"

func TestConnectionCut(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	for _, c := range []struct {
		name    string
		method  string
		place   place
		written bool
		fails   bool
	}{
		{"get-never-arrives", http.MethodGet, beforeRequest, false, true},
		{"get-without-answer", http.MethodGet, beforeAnswer, false, true},
		{"get-half-answered", http.MethodGet, amidAnswer, false, true},
		{"put-without-connection", http.MethodPut, beforeConnection, false, true},
		{"put-never-arrives", http.MethodPut, beforeRequest, false, true},
		{"put-without-answer", http.MethodPut, beforeAnswer, true, true},
		{"put-half-answered", http.MethodPut, amidAnswer, true, false},
		{"nothing-is-cut", http.MethodPut, nowhere, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := k.namespace(t)
			direct := k.open(t, namespace, "admin")
			m := newManifest(t)
			mustWrite(t, direct, m, "")
			revision := wantRead(t, direct, m)
			next := newer(t, m)
			cut := &cutter{kube: k, address: k.server.address, method: c.method, place: c.place}
			err := cut.behind(t, namespace).Write(t.Context(), next, revision)
			switch {
			case !c.fails && err != nil:
				t.Errorf("got %v, want success", err)
			case c.fails && c.method == http.MethodPut && c.place != beforeConnection:
				wantError(t, err, "no connection to the API server", mayBeWritten, "keys status")
			case c.fails:
				wantError(t, err, "no connection to the API server")
				if strings.Contains(err.Error(), mayBeWritten) {
					t.Errorf("got %v, but nothing was sent that writes", err)
				}
			}
			if errors.Is(err, keys.ErrConflict) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want an error of its own", err)
			}
			if !c.written {
				next = m
			}
			wantRead(t, direct, next)
			if c.written && err != nil {
				// Another attempt does no harm.
				wantConflict(t, direct.Write(t.Context(), newer(t, m), revision))
			}
		})
	}
}

// TestCreationCut loses the answer to a creation.
func TestCreationCut(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	cut := &cutter{kube: k, address: k.server.address, method: http.MethodPost, place: beforeAnswer}
	m := newManifest(t)
	wantError(t, cut.behind(t, namespace).Write(t.Context(), m, ""), mayBeWritten)
	wantRead(t, k.open(t, namespace, "admin"), m)
}

// TestLastMoment changes the Secret between the two requests of a write, which
// only the API server can notice.
func TestLastMoment(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	m := newManifest(t)
	for _, c := range []struct {
		name   string
		method string
		create bool // in the write; otherwise it updates
		meet   func(t *testing.T, namespace string)
	}{
		{"updated", http.MethodPut, false, func(t *testing.T, namespace string) {
			t.Helper()
			other := k.open(t, namespace, "admin")
			mustWrite(t, other, newer(t, m), wantRead(t, other, m))
		}},
		{"deleted", http.MethodPut, false, k.delete},
		{"made-again", http.MethodPut, false, func(t *testing.T, namespace string) {
			t.Helper()
			k.delete(t, namespace)
			mustWrite(t, k.open(t, namespace, "admin"), m, "")
		}},
		{"created", http.MethodPost, true, func(t *testing.T, namespace string) {
			t.Helper()
			mustWrite(t, k.open(t, namespace, "admin"), m, "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := k.namespace(t)
			revision := ""
			if !c.create {
				direct := k.open(t, namespace, "admin")
				mustWrite(t, direct, m, "")
				revision = wantRead(t, direct, m)
			}
			cut := &cutter{kube: k, address: k.server.address, method: c.method, meet: func() { c.meet(t, namespace) }}
			last := clone(t, m)
			last.Version = 99
			err := cut.behind(t, namespace).Write(t.Context(), last, revision)
			wantConflict(t, err)
			if c.create != errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v, want %v only where one is created", err, fs.ErrExist)
			}
			if bytes.Contains(k.text(t, namespace), []byte(`"version": 99`)) {
				t.Error("it was written")
			}
		})
	}
}

// TestServerEnds kills an API server, at rest and in the middle of a write, and
// starts it again.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	server := k.another(t)
	config := kubesecret.Config{
		Namespace: namespace, Name: "keys", Timeout: 3 * time.Second,
		Kubeconfig: k.kubeconfig(t, server.url(), "admin"),
	}
	s := mustNew(t, config)
	m := newManifest(t)
	mustWrite(t, s, m, "")
	revision := wantRead(t, s, m)

	server.Kill()
	err := s.Write(t.Context(), newer(t, m), revision)
	wantError(t, err, "no connection to the API server", "connection refused")
	if errors.Is(err, keys.ErrConflict) || strings.Contains(err.Error(), mayBeWritten) {
		t.Errorf("got %v, but nothing was sent", err)
	}
	_, _, err = s.Read(t.Context())
	wantError(t, err, "no connection to the API server")
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, which looks as if there were no manifest", err)
	}

	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	if now := wantRead(t, s, m); now != revision {
		t.Errorf("got revision %q after a restart, want %q", now, revision)
	}
	cut := &cutter{kube: k, address: server.address, method: http.MethodPut, meet: server.Kill}
	wantError(t, cut.behind(t, namespace).Write(t.Context(), newer(t, m), revision), mayBeWritten)
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, newer(t, m), revision)
	wantRead(t, s, newer(t, m))
}

// TestNoAnswer connects to a server that never answers.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const timeout = 600 * time.Millisecond
	s := mustNew(t, kubesecret.Config{
		Namespace: "anywhere", Name: "keys", Timeout: timeout,
		Kubeconfig: k.kubeconfig(t, "https://"+listener.Addr().String(), "admin"),
	})
	start := time.Now()
	_, _, err = s.Read(t.Context())
	wantError(t, err, "reading Secret anywhere/keys: no connection to the API server")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(start); took > 10*timeout {
		t.Errorf("it took %v, want about %v", took, timeout)
	}
}
