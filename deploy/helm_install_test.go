//go:build unix

package deploy_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const chartStrict = "?fieldValidation=Strict"

// A real API server takes everything that the chart makes, in a namespace where
// Pod Security enforces its strictest level, and its RBAC lets the daily Job do
// what it is for and nothing else.
func TestChartOnAPIServer(t *testing.T) {
	t.Parallel()
	server := startChartServer(t)
	server.define(t, chartCRDs(t))
	t.Run("objects", func(t *testing.T) {
		for _, values := range chartValueFiles(t) {
			t.Run(filepath.Base(values), func(t *testing.T) {
				t.Parallel()
				namespace := server.restricted(t, strings.TrimSuffix(filepath.Base(values), ".yaml"))
				server.install(t, namespace, renderChart(t, namespace, "--values", values))
			})
		}
		t.Run("refuses", func(t *testing.T) {
			t.Parallel()
			server.refuses(t, server.restricted(t, "refuses"))
		})
		t.Run("helm", func(t *testing.T) {
			t.Parallel()
			server.helm(t, server.restricted(t, "helm"))
		})
		t.Run("README", func(t *testing.T) {
			t.Parallel()
			server.readme(t)
		})
		t.Run("bootstrap", func(t *testing.T) {
			t.Parallel()
			server.bootstrap(t, server.restricted(t, "bootstrap"))
		})
		t.Run("rights", func(t *testing.T) {
			t.Parallel()
			server.rights(t, server.restricted(t, "rights"))
		})
	})
}

// restricted makes a namespace in which pods must be harmless.
func (s *chartServer) restricted(t *testing.T, name string) string {
	t.Helper()
	s.create(t, "/api/v1/namespaces", chartObject{"metadata": chartObject{
		"name": name, "labels": chartObject{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
	return name
}

// install makes the objects in their order, and tries the pods that the
// controllers would make of them.
func (s *chartServer) install(t *testing.T, namespace string, objects []chartObject) {
	t.Helper()
	for _, object := range objects {
		s.create(t, s.path(t, object, namespace)+chartStrict, object)
	}
	for _, object := range objects {
		if object.podTemplate() != nil {
			s.create(t, podsOf(namespace), podOf(object))
		}
	}
}

// podsOf is where pods are tried, and none is made.
func podsOf(namespace string) string {
	return "/api/v1/namespaces/" + namespace + "/pods" + chartStrict + "&dryRun=All"
}

func podOf(object chartObject) chartObject {
	pod := maps.Clone(object.podTemplate())
	metadata := maps.Clone(pod.part("metadata"))
	metadata["generateName"] = object.name() + "-"
	pod["metadata"] = metadata
	return pod
}

// refuses shows that the server looks at what it is given.
func (s *chartServer) refuses(t *testing.T, namespace string) {
	t.Helper()
	objects := renderChart(t, namespace, "--values", "testdata/helm/minimal.yaml")
	s.install(t, namespace, objects)
	deployment := theServer(t, objects)

	pod := podOf(deployment)
	pod.parts("spec", "containers")[0].part("securityContext")["allowPrivilegeEscalation"] = true
	status, answer := s.ask(t, "admin-token", http.MethodPost, podsOf(namespace), pod)
	if status != http.StatusForbidden || !strings.Contains(string(answer), "violates PodSecurity") {
		t.Errorf("a pod that may escalate: got %d: %s", status, answer)
	}

	deployment.part("metadata")["name"] = "misspelt"
	deployment.part("spec")["replica"] = 3
	status, answer = s.ask(t, "admin-token", http.MethodPost, s.path(t, deployment, namespace)+chartStrict, deployment)
	if status != http.StatusBadRequest || !strings.Contains(string(answer), "unknown field") {
		t.Errorf("a misspelt member: got %d: %s", status, answer)
	}
}

// helm installs and removes the chart as people do. The Job that makes a key
// set would never end here, and is not made, since there is one already.
func (s *chartServer) helm(t *testing.T, namespace string) {
	t.Helper()
	secrets := "/api/v1/namespaces/" + namespace + "/secrets"
	kubeconfig := s.kubeconfig(t)
	install := []string{
		"install", chartRelease, chartFolder, "--kubeconfig", kubeconfig,
		"--namespace", namespace, "--values", "testdata/helm/postgres.yaml", "--timeout", "1m",
	}
	const missing = "MISSING: pods wait until there is the Secret "
	for bootstrap, want := range map[string]string{
		"true":  missing + "customersession-organizations, customersession-database.\n",
		"false": missing + "signing, customersession-organizations, customersession-database.\n",
	} {
		out, err := runHelm(t, append(slices.Clone(install), "--dry-run=server", "--set", "keys.bootstrap.enabled="+bootstrap)...)
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("with keys.bootstrap.enabled=%s, Helm said\n%s\n%v, want %q in it", bootstrap, out, err, want)
		}
	}
	s.create(t, secrets, chartObject{"metadata": chartObject{"name": "signing"}})
	out, err := runHelm(t, install...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"issues sessions as https://sessions.example.com.",
		missing + "customersession-organizations, customersession-database.",
		"customersession keys status --kubernetes-secret " + namespace + "/signing",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("Helm said\n%s\nwant %q in it", out, want)
		}
	}
	if _, err := runHelm(t, "uninstall", chartRelease, "--kubeconfig", kubeconfig, "--namespace", namespace); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.ask(t, "admin-token", http.MethodGet, secrets+"/signing", nil); status != http.StatusOK {
		t.Errorf("after helm uninstall the key set is gone: %d", status)
	}
}

// kubeconfig writes that of the one who may do all.
func (s *chartServer) kubeconfig(t *testing.T) string {
	t.Helper()
	return s.kubeconfigOf(t, "admin-token")
}

// kubeconfigOf writes that of the owner of a token.
func (s *chartServer) kubeconfigOf(t *testing.T, token string) string {
	t.Helper()
	text := strings.NewReplacer("ADDRESS", s.address, "CA", s.certificate, "TOKEN", token).Replace(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://ADDRESS", certificate-authority: "CA"}}]
users: [{name: u, user: {token: TOKEN}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rights tries what the service accounts of the chart may do.
func (s *chartServer) rights(t *testing.T, namespace string) {
	t.Helper()
	s.install(t, namespace, renderChart(t, namespace, "--values", "testdata/helm/postgres.yaml"))
	secrets := "/api/v1/namespaces/" + namespace + "/secrets"
	secret := func(name string) chartObject {
		return chartObject{"metadata": chartObject{"name": name}, "stringData": chartObject{"manifest.json": "{}"}}
	}
	s.create(t, secrets, secret("signing"))
	s.create(t, secrets, secret("other"))
	const allowed, forbidden = http.StatusOK, http.StatusForbidden
	for _, test := range []struct {
		account, method, path string
		body                  any
		want                  int
	}{
		{"rotate", http.MethodGet, "/signing", nil, allowed},
		{"rotate", http.MethodPut, "/signing", secret("signing"), allowed},
		{"rotate", http.MethodGet, "/other", nil, forbidden},
		{"rotate", http.MethodPut, "/other", secret("other"), forbidden},
		{"rotate", http.MethodGet, "", nil, forbidden},
		{"rotate", http.MethodPost, "", secret("new"), forbidden},
		{"rotate", http.MethodDelete, "/signing", nil, forbidden},
		{"bootstrap", http.MethodGet, "/signing", nil, allowed},
		{"bootstrap", http.MethodPut, "/signing", secret("signing"), forbidden},
		{"bootstrap", http.MethodGet, "/other", nil, forbidden},
		{"bootstrap", http.MethodPost, "", secret("first"), http.StatusCreated},
		{"", http.MethodGet, "/signing", nil, forbidden},
	} {
		token := s.token(t, namespace, strings.TrimSuffix("customersession-"+test.account, "-"))
		if got, _ := s.ask(t, token, test.method, secrets+test.path, test.body); got != test.want {
			t.Errorf("%q may %s secrets%s: got %d, want %d", test.account, test.method, test.path, got, test.want)
		}
	}
}

// token returns a token of a service account.
func (s *chartServer) token(t *testing.T, namespace, account string) string {
	t.Helper()
	made := s.create(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", chartObject{"spec": chartObject{}})
	token := made.text("status", "token")
	if token == "" {
		t.Fatalf("no token for %s", account)
	}
	return token
}
