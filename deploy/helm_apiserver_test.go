//go:build unix

package deploy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/kube"
)

// A chartServer is a real API server, and one user who may do all.
type chartServer struct {
	address     string
	certificate string // a file
	client      *http.Client
}

// startChartServer starts one for the test.
func startChartServer(t *testing.T) *chartServer {
	t.Helper()
	cluster := kube.StartForTest(t, "../.ci/cache")
	users := cluster.File("tokens.csv")
	if err := os.WriteFile(users, []byte(`admin-token,admin,1,"system:masters"`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &chartServer{address: kube.FreeAddress()}
	s.certificate = cluster.Certificate(s.address)
	cluster.ServeForTest(t, s.address, func() bool { return s.isReady(t) }, "--token-auth-file", users)
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// isReady also takes the certificate that the server has made for itself.
func (s *chartServer) isReady(t *testing.T) bool {
	t.Helper()
	certificate, err := os.ReadFile(s.certificate)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	status, _ := s.ask(t, "admin-token", http.MethodGet, "/readyz", nil)
	return status == http.StatusOK
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
		s.waitFor(t, "/apis/"+crd.text("spec", "group")+"/v1/"+crd.text("spec", "names", "plural"))
	}
}

// waitFor returns when something is at path.
func (s *chartServer) waitFor(t *testing.T, path string) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		status, answer := s.ask(t, "admin-token", http.MethodGet, path, nil)
		if status == http.StatusOK {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("GET %s: got %d after 2 minutes: %s", path, status, answer)
		case <-again.C:
		}
	}
}
