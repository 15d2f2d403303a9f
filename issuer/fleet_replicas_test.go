package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/clock"
)

// A replica is one issuer of the fleet, a process with a copy of the manifest
// of its own.
type replica struct {
	name  string
	clock clock.Clock
	// delay is how long a new manifest takes to reach it.
	delay time.Duration
	file  string
	inbox chan delivery
	// cut is whether it gets no new manifest.
	cut atomic.Bool

	process *process
	// public and operations are the addresses of the process.
	public, operations atomic.Pointer[string]
	// up is what its readiness said last.
	up atomic.Bool
	// out is whether the operator took it out of service.
	out atomic.Bool
}

// A delivery is a manifest on its way to a replica.
type delivery struct {
	text []byte
	due  time.Time // real
}

func newReplica(t testing.TB, name string, c clock.Clock, delay time.Duration) *replica {
	t.Helper()
	return &replica{
		name: name, clock: c, delay: delay,
		file:  filepath.Join(t.TempDir(), "keys.json"),
		inbox: make(chan delivery, 1000), // more than a test has versions
	}
}

// start starts the process and waits until it listens.
func (r *replica) start(t testing.TB, program string, env []string) {
	t.Helper()
	env = append(append([]string{}, env...), r.clock.Env(), "CUSTOMERSESSION_KEYS_FILE="+r.file)
	r.process = startProgram(t, program, env, "serve")
	public := r.process.find(t, r.process.stderr, `"msg":"listening","addr":"([^"]+)"`)
	operations := r.process.find(t, r.process.stderr, `"operations_addr":"([^"]+)"`)
	r.public.Store(&public)
	r.operations.Store(&operations)
}

// url is where the process serves the API.
func (r *replica) url() string { return "http://" + *r.public.Load() }

// kill ends the process without a warning.
func (r *replica) kill(t testing.TB) {
	t.Helper()
	if err := r.process.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.process.exited
}

// send puts a manifest on its way.
func (r *replica) send(text []byte) {
	r.inbox <- delivery{text, time.Now().Add(r.clock.Real(r.delay))}
}

// receive writes what is sent, in its order, as configuration management does
// it, until ctx is done.
func (r *replica) receive(ctx context.Context, t testing.TB) {
	t.Helper()
	for {
		select {
		case d := <-r.inbox:
			select {
			case <-time.After(time.Until(d.due)):
			case <-ctx.Done():
				return
			}
			if r.cut.Load() {
				continue
			}
			if err := replaceFile(r.file, d.text); err != nil {
				t.Errorf("writing the manifest of %s: %v", r.name, err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func replaceFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ready asks the replica whether it is ready.
func (r *replica) ready(client *http.Client) bool {
	response, err := client.Get("http://" + *r.operations.Load() + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// metric returns the value of a line of /metrics, 0 when it is not there.
func (r *replica) metric(t testing.TB, line string) float64 {
	t.Helper()
	response, err := http.Get("http://" + *r.operations.Load() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+line+" ")
	if !found {
		return 0
	}
	number, _, _ := strings.Cut(rest, "\n")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// reloads counts what became of new versions of the manifest.
func (r *replica) reloads(t testing.TB, result string) float64 {
	t.Helper()
	return r.metric(t, fmt.Sprintf(`customersession_file_reloads_total{file="keys",result=%q}`, result))
}

// A balancer is what the world takes for the issuer: a proxy that gives one
// request after the other to replicas in service.
type balancer struct {
	replicas  []*replica
	turn      atomic.Uint64
	transport http.Transport
}

func (b *balancer) handler() http.Handler {
	return &httputil.ReverseProxy{
		Transport: b,
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// RoundTrip asks the next replica. When it cannot be reached, it is out of
// service until it is ready again, and another one is asked: as an issuer keeps
// nothing, there is no harm in asking twice.
func (b *balancer) RoundTrip(request *http.Request) (*http.Response, error) {
	body := []byte{}
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	for range 2 * len(b.replicas) {
		r := b.replicas[b.turn.Add(1)%uint64(len(b.replicas))]
		if !r.up.Load() || r.out.Load() {
			continue
		}
		asked := request.Clone(request.Context())
		asked.URL.Host = *r.public.Load()
		asked.Body = io.NopCloser(bytes.NewReader(body))
		response, err := b.transport.RoundTrip(asked)
		if err == nil || request.Context().Err() != nil {
			return response, err
		}
		r.up.Store(false)
	}
	return nil, errors.New("no replica is in service")
}

// probe asks every replica again and again whether it is ready, until ctx is
// done.
func (b *balancer) probe(ctx context.Context) {
	client := &http.Client{Timeout: time.Second}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		for _, r := range b.replicas {
			r.up.Store(r.ready(client))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
