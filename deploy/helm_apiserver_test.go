//go:build unix

package deploy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A chartServer is a real API server with an etcd, and nothing that acts on
// what is in it.
type chartServer struct {
	folder  string
	address string
	client  *http.Client
}

// startChartServer starts one for the test.
func startChartServer(t *testing.T) *chartServer {
	t.Helper()
	program := needs.Program(t, "kube-apiserver", "run .ci/run cluster", "../.ci/cache")
	etcd := needs.Program(t, "etcd", "install Debian's etcd-server")
	s := &chartServer{folder: t.TempDir(), address: chartAddress(t)}
	s.writeFiles(t)
	client, peer := "http://"+chartAddress(t), "http://"+chartAddress(t)
	runForChart(t, etcd, "--data-dir", s.file("etcd"), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	host, port, _ := net.SplitHostPort(s.address)
	ended := runForChart(t, program,
		"--etcd-servers", client, "--bind-address", host, "--advertise-address", host, "--secure-port", port,
		"--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16", "--cert-dir", s.file("certs"),
		"--token-auth-file", s.file("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", s.file("sa.key"), "--service-account-key-file", s.file("sa.key"))
	s.waitUntilReady(t, ended)
	return s
}

func (s *chartServer) file(name string) string { return filepath.Join(s.folder, name) }

// writeFiles writes the one user, who may do all, and the key of the service
// accounts' tokens.
func (s *chartServer) writeFiles(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"sa.key":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"tokens.csv": []byte(`admin-token,admin,1,"system:masters"`),
	} {
		if err := os.WriteFile(s.file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// waitUntilReady takes the certificate that the server made for itself.
func (s *chartServer) waitUntilReady(t *testing.T, ended <-chan string) {
	t.Helper()
	eventuallyForChart(t, ended, func() bool {
		certificate, err := os.ReadFile(s.file("certs/apiserver.crt"))
		if err != nil {
			return false
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(certificate)
		s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		status, _ := s.ask(t, "admin-token", http.MethodGet, "/readyz", nil)
		return status == http.StatusOK
	})
	t.Cleanup(s.client.CloseIdleConnections)
}

// eventuallyForChart tries until something is so, and fails the test when it
// is not after two minutes or the program has ended.
func eventuallyForChart(t *testing.T, ended <-chan string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !so() {
		select {
		case output := <-ended:
			t.Fatalf("the program ended:\n%s", output)
		case <-deadline:
			t.Fatal("it is not so after 2 minutes")
		case <-ticker.C:
		}
	}
}

// ask sends a request and returns the status, 0 without an answer.
func (s *chartServer) ask(t *testing.T, token, method, path string, body any) (int, []byte) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.address+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return response.StatusCode, answer
}

// create makes an object, which must succeed, and returns it.
func (s *chartServer) create(t *testing.T, path string, object any) chartObject {
	t.Helper()
	status, answer := s.ask(t, "admin-token", http.MethodPost, path, object)
	if status != http.StatusCreated {
		t.Fatalf("POST %s: got %d, want 201: %s", path, status, answer)
	}
	var made chartObject
	if err := json.Unmarshal(answer, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// path is where objects of that kind are in a namespace.
func (s *chartServer) path(t *testing.T, object chartObject, namespace string) string {
	t.Helper()
	version := object.text("apiVersion")
	root := "/apis/" + version
	if !strings.Contains(version, "/") {
		root = "/api/" + version
	}
	status, answer := s.ask(t, "admin-token", http.MethodGet, root, nil)
	var list chartObject
	if err := json.Unmarshal(answer, &list); err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: got %d: %v: %s", root, status, err, answer)
	}
	for _, resource := range list.parts("resources") {
		if resource.text("kind") == object.kind() && !strings.Contains(resource.text("name"), "/") {
			return root + "/namespaces/" + namespace + "/" + resource.text("name")
		}
	}
	t.Fatalf("the API server knows no %s of %s", object.kind(), version)
	return ""
}

// define makes custom resources, and returns when the server serves them.
func (s *chartServer) define(t *testing.T, crds []chartObject) {
	t.Helper()
	for _, crd := range crds {
		s.create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
	}
	for _, crd := range crds {
		path := "/apis/" + crd.text("spec", "group") + "/v1/" + crd.text("spec", "names", "plural")
		eventuallyForChart(t, nil, func() bool {
			status, _ := s.ask(t, "admin-token", http.MethodGet, path, nil)
			return status == http.StatusOK
		})
	}
}

// runForChart runs a program until the test ends. Later ones end first: the
// API server does not end without its etcd.
func runForChart(t *testing.T, program string, args ...string) <-chan string {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, gone := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(gone)
		err := cmd.Wait()
		text := output.String()
		ended <- fmt.Sprint(text[max(0, len(text)-4000):], err)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	return ended
}

// chartAddress is one of loopback that nobody listens on for now.
func chartAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
