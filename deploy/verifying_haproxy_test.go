package deploy_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

// A pageProxy is HAProxy with the configuration of the page.
type pageProxy struct {
	client *http.Client
	socket string
	update func() error
}

// startProxy runs HAProxy in front of a service that answers with what it is
// told of the customer.
func startProxy(t *testing.T, issuer *verifytest.Issuer) *pageProxy {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whose := slices.Concat(r.Header.Values("X-Customer-Id"), r.Header.Values("X-Member-Id"), r.Header.Values("X-Member-Role"))
		fmt.Fprint(w, strings.Join(whose, " "))
	}))
	t.Cleanup(service.Close)
	proxy := startProxyFor(t, issuer, service.Listener.Addr().String())
	proxy.waitFor(t, accepted, issuer.Token(verifytest.TokenSpec{}))
	return proxy
}

// startProxyFor runs HAProxy in front of a service and does not wait for it. A
// folder stands for /etc/haproxy.
func startProxyFor(t *testing.T, issuer *verifytest.Issuer, service string) *pageProxy {
	t.Helper()
	haproxy := pageProgram(t, []string{"haproxy", "/usr/sbin/haproxy"}, "install haproxy 2.6 or newer", "-v")
	pageProgram(t, []string{"python3"}, "install python3", "--version")
	folder := t.TempDir()
	socket := filepath.Join(folder, "socket")
	writePageFiles(t, folder, map[string]string{
		"haproxy.cfg.in": pageBlock(t, "haproxy", pageIssuer, issuer.URL(), "/etc/haproxy", folder,
			"bind :8080", "bind unix@"+socket, "127.0.0.1:9000", service),
		"keys.py":        pageBlock(t, "haproxy-keys"),
		"update.sh":      pageBlock(t, "haproxy-update", pageIssuer, issuer.URL(), "/etc/haproxy", folder),
		"sessions/about": "The keys of the issuer.\n",
		"bin/systemctl":  "#!/bin/sh\n[ ! -e pid ] || kill -USR2 \"$(cat pid)\"\n",
	})
	update := func() error {
		command := exec.CommandContext(t.Context(), "sh", "-c",
			`PATH="bin:$PATH:/usr/sbin"; PATH="$PWD/$PATH"; export PATH; exec ./update.sh`)
		command.Dir = folder
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("updating the keys of HAProxy: %w\n%s", err, output)
		}
		return nil
	}
	if err := update(); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), haproxy, "-W", "-f", "haproxy.cfg")
	command.Dir = folder
	// The first process has children, which must end with it.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() })
	writePageFiles(t, folder, map[string]string{"pid": strconv.Itoa(command.Process.Pid)})
	return &pageProxy{update: update, socket: socket, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// verdict sends a token, and with it a lie that the service must not see.
func (p *pageProxy) verdict(token string) string {
	request, err := http.NewRequest(http.MethodGet, "http://portal.example.com/", http.NoBody)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("X-Customer-Id", "somebody")
	response, err := p.client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err.Error()
	case response.StatusCode == http.StatusOK:
		return "accepted " + string(body)
	case response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "Bearer":
		return refused
	default:
		return response.Status
	}
}

// waitFor waits for a process that starts or reloads.
func (p *pageProxy) waitFor(t *testing.T, want, token string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-again.C {
		got := p.verdict(token)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// dashKey returns a key whose ID looks like an option of the configuration.
func dashKey(t *testing.T) crypto.Signer {
	t.Helper()
	for {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := jwk.New(private.Public()); err != nil {
			t.Fatal(err)
		} else if strings.HasPrefix(key.ID(), "-") {
			return private
		}
	}
}

func TestVerifyingHAProxy(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Loopback: true, Keys: []crypto.Signer{dashKey(t)}})
	proxy := startProxy(t, issuer)
	checkPageTokens(t, issuer, proxy.verdict)

	old := issuer.Token(verifytest.TokenSpec{})
	issuer.Activate(issuer.Publish(jwk.ES256))
	rotated := issuer.Token(verifytest.TokenSpec{})
	if got := proxy.verdict(rotated); got != refused {
		t.Errorf("a new key, before the update: got %q, want %q", got, refused)
	}
	if err := proxy.update(); err != nil {
		t.Fatal(err)
	}
	proxy.waitFor(t, accepted, rotated)
	proxy.waitFor(t, accepted, old)

	issuer.Fail(verifytest.ServerError)
	if proxy.update() == nil {
		t.Error("the update succeeds although the issuer is down")
	}
	proxy.waitFor(t, accepted, old)
	issuer.Fail(verifytest.Healthy)
	issuer.Remove(issuer.Keys()[0].ID())
	if err := proxy.update(); err != nil {
		t.Fatal(err)
	}
	proxy.waitFor(t, refused, old)
	proxy.waitFor(t, accepted, rotated)
}
