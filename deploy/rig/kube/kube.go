// Package kube runs a real Kubernetes API server with an etcd, both on
// loopback, for tests of what speaks to one. Nothing acts on what is in it:
// there is no controller, no scheduler and no node.
//
// A test needs the programs kube-apiserver, which ".ci/run cluster" builds, and
// etcd; without them it is skipped or fails, as package needs says.
package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// startLimit is how long an API server may take to be ready. On a machine with
// nothing else to do it takes five seconds.
const startLimit = 2 * time.Minute

// Programs are the paths of what a cluster consists of.
type Programs struct{ apiServer, etcd string }

// Needs finds the programs, also in cache, the folder that .ci/run builds into.
func Needs(t testing.TB, cache string) Programs {
	t.Helper()
	return Programs{
		apiServer: needs.Program(t, "kube-apiserver", "run .ci/run cluster", cache),
		etcd:      needs.Program(t, "etcd", "install Debian's etcd-server"),
	}
}

// A Cluster is an etcd, and any number of API servers on it.
type Cluster struct {
	programs Programs
	folder   string
	etcd     *Process
	etcdURL  string
}

// Start runs an etcd, until Stop. Its data and what API servers need go into
// folder, which is left to the caller.
func Start(programs Programs, folder string) (*Cluster, error) {
	c := &Cluster{programs: programs, folder: folder, etcdURL: "http://" + FreeAddress()}
	if err := writeAccountKey(c.File("sa.key")); err != nil {
		return nil, err
	}
	peer := "http://" + FreeAddress()
	var err error
	c.etcd, err = startProcess(programs.etcd, "--data-dir", c.File("etcd"), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", c.etcdURL, "--advertise-client-urls", c.etcdURL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// StartForTest is Start for one test: it ends with the test, and so do the API
// servers that ServeForTest starts.
func StartForTest(t testing.TB, cache string) *Cluster {
	t.Helper()
	c, err := Start(Needs(t, cache), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// File is the path of a file in the cluster's folder.
func (c *Cluster) File(name string) string { return filepath.Join(c.folder, name) }

// Stop ends the etcd. API servers must have ended before: without it, they wait
// for it for ever.
func (c *Cluster) Stop() { c.etcd.Kill() }

// Serve runs an API server at address, with these flags beside those that every
// one needs: how it knows who asks is up to them. It returns when ready reports
// true, which is asked again and again.
func (c *Cluster) Serve(address string, ready func() bool, flags ...string) (*Process, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	server, err := startProcess(c.programs.apiServer, append([]string{
		"--etcd-servers", c.etcdURL, "--bind-address", host, "--advertise-address", host, "--secure-port", port,
		"--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16",
		"--cert-dir", c.File("certs-" + port), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", c.File("sa.key"), "--service-account-key-file", c.File("sa.key"),
	}, flags...)...)
	if err != nil {
		return nil, err
	}
	if err := server.wait(ready); err != nil {
		err = fmt.Errorf("the API server %w:\n%s", err, server.tail())
		server.Kill() // and with it goes what it said
		return nil, err
	}
	return server, nil
}

// ServeForTest is Serve, until the test ends.
func (c *Cluster) ServeForTest(t testing.TB, address string, ready func() bool, flags ...string) {
	t.Helper()
	server, err := c.Serve(address, ready, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
}

// Certificate is the file with the certificate that the API server at address
// makes for itself, unless its flags name one.
func (c *Cluster) Certificate(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return filepath.Join(c.File("certs-"+port), "apiserver.crt")
}

var (
	errEnded = errors.New("has ended")
	errLate  = fmt.Errorf("is not ready after %v", startLimit)
)

func (p *Process) wait(ready func() bool) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(startLimit)
	for !ready() {
		select {
		case <-p.ended:
			return errEnded
		case <-deadline:
			return errLate
		case <-again.C:
		}
	}
	return nil
}

// writeAccountKey writes a key for tokens of service accounts.
func writeAccountKey(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
