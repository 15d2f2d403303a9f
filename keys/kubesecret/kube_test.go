//go:build unix

package kubesecret_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A kube is an API server with an etcd, both real.
type kube struct {
	dir       string
	program   string // of the API server
	authority *authority
	http      *http.Client
	etcd      *process
	etcdURL   string
	server    *apiServer
}

// shared is the one API server of all tests, started by the first that asks.
var shared struct {
	once sync.Once
	kube *kube
	err  error
}

// TestMain stops what the tests started.
func TestMain(m *testing.M) {
	m.Run()
	if shared.kube != nil {
		shared.kube.stop()
	}
}

// startedKube returns the API server of all tests.
func startedKube(t *testing.T) *kube {
	t.Helper()
	program := needs.Program(t, "kube-apiserver", "CONTRIBUTING.md says how to build it", "../../.ci/cache")
	etcd := needs.Program(t, "etcd", "install Debian's etcd-server")
	shared.once.Do(func() { shared.kube, shared.err = startKube(program, etcd) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.kube
}

func startKube(program, etcd string) (*kube, error) {
	dir, err := os.MkdirTemp("", "kubesecret-")
	if err != nil {
		return nil, err
	}
	k := &kube{dir: dir, program: program}
	if err := k.start(etcd); err != nil {
		k.stop()
		return nil, err
	}
	return k, nil
}

func (k *kube) start(etcd string) error {
	if err := k.writeFiles(); err != nil {
		return err
	}
	client, peer := "http://"+freeAddress(), "http://"+freeAddress()
	k.etcdURL = client
	var err error
	k.etcd, err = startProcess(etcd, "--data-dir", filepath.Join(k.dir, "etcd"), "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err != nil {
		return err
	}
	k.server = k.newServer()
	return k.server.start()
}

// tokens are the users that tests may be: each of them "NAME-token". What they
// may do is up to roles, but for the first one, who may do all.
const tokens = `admin-token,admin,1,"system:masters"
writer-token,writer,2
reader-token,reader,3
nobody-token,nobody,4
`

func (k *kube) writeFiles() (err error) {
	if k.authority, err = newAuthority(); err != nil {
		return err
	}
	certificate, key, err := k.authority.issue("kube-apiserver")
	if err != nil {
		return err
	}
	_, serviceAccounts, err := k.authority.issue("service accounts")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": k.authority.pem, "api.crt": certificate, "api.key": key,
		"sa.key": serviceAccounts, "tokens.csv": []byte(tokens),
	} {
		if err := os.WriteFile(filepath.Join(k.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	k.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: k.authority.pool()},
	}}
	return nil
}

// stop ends the API server before etcd, without which it would not end.
func (k *kube) stop() {
	if k.server != nil {
		k.server.kill()
	}
	k.etcd.kill()
	_ = os.RemoveAll(k.dir)
}

// An apiServer is one of the API servers of a kube, at its own address.
type apiServer struct {
	*process

	kube    *kube
	address string
}

func (k *kube) newServer() *apiServer { return &apiServer{kube: k, address: freeAddress()} }

// another starts one more API server on the same etcd, which a test may kill.
func (k *kube) another(t *testing.T) *apiServer {
	t.Helper()
	s := k.newServer()
	t.Cleanup(func() { s.kill() })
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs the API server until it is ready.
func (s *apiServer) start() (err error) {
	file := func(name string) string { return filepath.Join(s.kube.dir, name) }
	host, port, _ := net.SplitHostPort(s.address)
	s.process, err = startProcess(s.kube.program,
		"--etcd-servers", s.kube.etcdURL, "--bind-address", host, "--advertise-address", host, "--secure-port", port,
		"--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16",
		"--cert-dir", file("certs-"+port), "--client-ca-file", file("ca.crt"),
		"--tls-cert-file", file("api.crt"), "--tls-private-key-file", file("api.key"),
		"--token-auth-file", file("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", file("sa.key"), "--service-account-key-file", file("sa.key"))
	if err != nil {
		return err
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case <-s.ended:
			return fmt.Errorf("the API server ended:\n%s", s.tail())
		case <-deadline:
			return fmt.Errorf("the API server is not ready after 2 minutes:\n%s", s.tail())
		case <-ticker.C:
			if _, err := s.kube.request(s.address, http.MethodGet, "/readyz", nil); err == nil {
				return nil
			}
		}
	}
}

// url is where the API server is.
func (s *apiServer) url() string { return "https://" + s.address }

// request asks an API server as admin, and returns its answer.
func (k *kube) request(address, method, path string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, "https://"+address+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer admin-token")
	request.Header.Set("Content-Type", "application/json")
	response, err := k.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer, err
}

// do is request for what must succeed.
func (k *kube) do(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	answer, err := k.request(k.server.address, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// namespace makes a namespace for the test, in which writer may get and update
// the Secret "keys", and reader may get it.
func (k *kube) namespace(t *testing.T) string {
	t.Helper()
	prefix := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-"
	answer := k.do(t, http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"generateName": prefix}})
	var made struct {
		Metadata struct{ Name string }
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		t.Fatal(err)
	}
	name := made.Metadata.Name
	k.allow(t, name, object{"kind": "User", "name": "writer"}, "get", "update")
	k.allow(t, name, object{"kind": "User", "name": "reader"}, "get")
	return name
}

// allow lets somebody do that with the Secret "keys" of the namespace.
func (k *kube) allow(t *testing.T, namespace string, subject object, verbs ...string) {
	t.Helper()
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	name := subject["name"]
	k.do(t, http.MethodPost, rbac+namespace+"/roles", object{
		"metadata": object{"name": name},
		"rules": []object{{
			"apiGroups": []string{""}, "resources": []string{"secrets"},
			"resourceNames": []string{"keys"}, "verbs": verbs,
		}},
	})
	k.do(t, http.MethodPost, rbac+namespace+"/rolebindings", object{
		"metadata": object{"name": name},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
		"subjects": []object{subject},
	})
}

// secrets is the path of the namespace's Secrets.
func secrets(namespace string) string { return "/api/v1/namespaces/" + namespace + "/secrets" }

// put makes the Secret "keys" with such members.
func (k *kube) put(t *testing.T, namespace string, members object) {
	t.Helper()
	secret := object{"metadata": object{"name": "keys"}}
	maps.Copy(secret, members)
	k.do(t, http.MethodPost, secrets(namespace), secret)
}

// text returns the manifest in the Secret "keys", or nothing.
func (k *kube) text(t *testing.T, namespace string) []byte {
	t.Helper()
	answer := k.do(t, http.MethodGet, secrets(namespace), nil)
	var list struct {
		Items []struct{ Data map[string][]byte }
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	return list.Items[0].Data["keys.json"]
}

// secret returns the Secret "keys".
func (k *kube) secret(t *testing.T, namespace string) (s struct {
	Metadata struct {
		Labels, Annotations map[string]string
	}
	Type string
	Data map[string][]byte
},
) {
	t.Helper()
	answer := k.do(t, http.MethodGet, secrets(namespace)+"/keys", nil)
	if err := json.Unmarshal(answer, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// delete deletes the Secret "keys".
func (k *kube) delete(t *testing.T, namespace string) {
	t.Helper()
	k.do(t, http.MethodDelete, secrets(namespace)+"/keys", nil)
}

// serviceAccount makes the service account "rotate", which may get and update
// the Secret "keys".
func (k *kube) serviceAccount(t *testing.T, namespace string) {
	t.Helper()
	k.do(t, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{"metadata": object{"name": "rotate"}})
	k.allow(t, namespace, object{"kind": "ServiceAccount", "name": "rotate", "namespace": namespace}, "get", "update")
}

// token returns a new token of that service account.
func (k *kube) token(t *testing.T, namespace string) string {
	t.Helper()
	answer := k.do(t, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/rotate/token", object{"spec": object{}})
	var request struct {
		Status struct{ Token string }
	}
	if err := json.Unmarshal(answer, &request); err != nil || request.Status.Token == "" {
		t.Fatalf("got no token: %v", err)
	}
	// The first part of a token is a header that tells nothing.
	_, secret, _ := strings.Cut(request.Status.Token, ".")
	hide(secret)
	return request.Status.Token
}

// kubeconfig writes one for that server and user.
func (k *kube) kubeconfig(t *testing.T, url, user string) string {
	t.Helper()
	return writeFile(t, "kubeconfig", fmt.Sprintf(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s-token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, url, base64.StdEncoding.EncodeToString(k.authority.pem), user))
}

// A process is a program that runs beside the tests.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	output *os.File
}

func startProcess(program string, args ...string) (*process, error) {
	output, err := os.CreateTemp("", "kubesecret-log-")
	if err != nil {
		return nil, err
	}
	// Nothing needs the name, and so nothing stays behind.
	_ = os.Remove(output.Name())
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{}), output: output}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it is killed in the end, which is an error
	}()
	return p, nil
}

// kill ends the process at once, as a crash would. One that was never started,
// or is gone already, is none of its concern.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.output.Close()
}

// tail is the end of what the process said.
func (p *process) tail() string {
	const most = 4000
	end, err := p.output.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(end, most))
	_, err = p.output.ReadAt(text, end-int64(len(text)))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// freeAddress is one of loopback that nobody listens on for now.
func freeAddress() string {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // loopback without a free port
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
