//go:build unix

package kubesecret_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	rig "github.com/customersession/customersession/deploy/rig/kube"
)

// A kube is a real API server with a real etcd.
type kube struct {
	dir       string
	authority *authority
	http      *http.Client
	cluster   *rig.Cluster
	server    *apiServer
}

// shared is the API server of all tests, started by the first that needs it.
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
	programs := rig.Needs(t, "../../.ci/cache")
	shared.once.Do(func() { shared.kube, shared.err = startKube(programs) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.kube
}

func startKube(programs rig.Programs) (*kube, error) {
	dir, err := os.MkdirTemp("", "kubesecret-")
	if err != nil {
		return nil, err
	}
	k := &kube{dir: dir}
	if err := k.start(programs); err != nil {
		k.stop()
		return nil, err
	}
	return k, nil
}

func (k *kube) start(programs rig.Programs) (err error) {
	if err := k.writeFiles(); err != nil {
		return err
	}
	if k.cluster, err = rig.Start(programs, k.dir); err != nil {
		return err
	}
	k.server = k.newServer()
	return k.server.start()
}

// tokens holds the users of the tests; the token of each is "NAME-token". The
// first may do anything, the others what roles grant.
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
	for name, content := range map[string][]byte{
		"ca.crt": k.authority.pem, "api.crt": certificate, "api.key": key,
		"tokens.csv": []byte(tokens),
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

// stop ends the API server before etcd: without etcd, it does not end.
func (k *kube) stop() {
	if k.server != nil {
		k.server.Kill()
	}
	if k.cluster != nil {
		k.cluster.Stop()
	}
	_ = os.RemoveAll(k.dir)
}

// An apiServer is one of the API servers of a kube, at its own address.
type apiServer struct {
	*rig.Process

	kube    *kube
	address string
}

func (k *kube) newServer() *apiServer { return &apiServer{kube: k, address: rig.FreeAddress()} }

// another starts another API server on the same etcd, which a test may kill.
func (k *kube) another(t *testing.T) *apiServer {
	t.Helper()
	s := k.newServer()
	t.Cleanup(func() { s.Kill() })
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs the API server, and returns when it is ready.
func (s *apiServer) start() (err error) {
	k := s.kube
	s.Process, err = k.cluster.Serve(s.address, func() bool {
		_, err := k.request(s.address, http.MethodGet, "/readyz", nil)
		return err == nil
	}, "--client-ca-file", k.cluster.File("ca.crt"), "--token-auth-file", k.cluster.File("tokens.csv"),
		"--tls-cert-file", k.cluster.File("api.crt"), "--tls-private-key-file", k.cluster.File("api.key"))
	return err
}

// url returns the URL of the API server.
func (s *apiServer) url() string { return "https://" + s.address }

// request sends a request to an API server as admin, and returns the answer.
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
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/json-patch+json")
	}
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

// do is a request that must succeed.
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

// allow grants the subject those verbs on the Secret "keys" of the namespace.
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
	// The first part of a token is a header without secrets.
	_, secret, _ := strings.Cut(request.Status.Token, ".")
	hide(secret)
	return request.Status.Token
}

// kubeconfig writes a kubeconfig for that server and user.
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
