//go:build unix

package deploy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys"
)

// chartSteps returns the commands of the chart's README that install it. What
// follows them needs pods.
func chartSteps(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(chartFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Install\n")
	section, _, ended := strings.Cut(section, "\n**Does it work?**\n")
	if !found || !ended {
		t.Fatal("the README has no section that installs the chart")
	}
	var steps strings.Builder
	for {
		_, rest, more := strings.Cut(section, "\n```sh\n")
		if !more {
			break
		}
		block, rest, _ := strings.Cut(rest, "\n```\n")
		steps.WriteString(block + "\n")
		section = rest
	}
	return steps.String()
}

// What needs a node: nothing makes pods here, so none of them gets ready, and
// the program runs beside the API server.
const (
	chartHelm = `#!/bin/sh
set -eu
for arg; do
  shift
  [ "$arg" = --wait ] || set -- "$@" "$arg"
done
exec %s "$@"
`
	chartKubectl = `#!/bin/sh
set -eu
case $* in
"--namespace sessions rollout "*" deployment/customersession") exit ;;
"--namespace sessions exec deployment/customersession -- /customersession "*) shift 6; exec %s "$@" ;;
esac
exec %s "$@"
`
)

// readme types what the chart's README says, word for word, and looks at what
// it made.
func (s *chartServer) readme(t *testing.T) {
	t.Helper()
	folder, programs := t.TempDir(), t.TempDir()
	program := chartProgram(t)
	defer s.runJobs(t, chartNamespace, program)()
	kubectl := absolute(t, needs.Program(t, "kubectl", chartToolsHint, "../.ci/cache"))
	helm := absolute(t, needs.Program(t, "helm", chartToolsHint, "../.ci/cache"))
	jq := absolute(t, needs.Program(t, "jq", "install jq"))
	for path, text := range map[string]string{
		"helm":    fmt.Sprintf(chartHelm, helm),
		"kubectl": fmt.Sprintf(chartKubectl, program, kubectl),
		"jq":      "#!/bin/sh\nexec " + jq + ` "$@"` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(programs, path), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(absolute(t, "."), filepath.Join(folder, "deploy")); err != nil {
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "/bin/sh", "-euc", chartSteps(t))
	sh.Dir = folder
	sh.Env = []string{
		"PATH=" + programs + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "KUBECONFIG=" + s.kubeconfig(t),
	}
	if output, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	s.checkReadme(t, filepath.Join(folder, "apikey.json"))
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// checkReadme reads the two Secrets as the server does.
func (s *chartServer) checkReadme(t *testing.T, apiKey string) {
	t.Helper()
	manifest, err := keys.ParseManifest(s.secretMember(t, "customersession-keys", "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if manifest.CurrentAt(time.Now()) == nil {
		t.Error("no key signs at once")
	}
	var made struct{ Secret string }
	text, err := os.ReadFile(apiKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal("the API key is not JSON")
	}
	s.issue(t, made.Secret)
	const deployment = "/apis/apps/v1/namespaces/sessions/deployments/customersession"
	if status, answer := s.ask(t, "admin-token", http.MethodGet, deployment, nil); status != http.StatusOK {
		t.Errorf("the Deployment: got %d: %s", status, answer)
	}
}

// issue creates a session with the API key, at a server that has the two files.
func (s *chartServer) issue(t *testing.T, apiKey string) {
	t.Helper()
	folder := t.TempDir()
	settings := issuer.Settings{
		Issuer: "https://sessions.example.com", Customers: "request",
		SessionLifetime: time.Hour, MaxSessionLifetime: time.Hour,
		KeysFile:          filepath.Join(folder, "keys.json"),
		OrganizationsFile: filepath.Join(folder, "organizations.json"),
	}
	for file, secret := range map[string]string{
		settings.KeysFile:          "customersession-keys",
		settings.OrganizationsFile: "customersession-organizations",
	} {
		if err := os.WriteFile(file, s.secretMember(t, secret, filepath.Base(file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, err := issuer.Open(t.Context(), settings, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"customer_id":"5f0c3b52-9a3d-4f83-8d5b-5d2f0a5f1c11","customer":{"email":"ada@example.com"}}`
	request := httptest.NewRequest(http.MethodPost, "/v1/customer-sessions/", strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+apiKey)
	answer := httptest.NewRecorder()
	server.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusCreated {
		t.Errorf("creating a session with the API key: got %d", answer.Code)
	}
}

// secretMember returns a member of a Secret in the namespace of the README.
func (s *chartServer) secretMember(t *testing.T, name, member string) []byte {
	t.Helper()
	return s.secretMemberIn(t, chartNamespace, name, member)
}

func (s *chartServer) secretMemberIn(t *testing.T, namespace, name, member string) []byte {
	t.Helper()
	status, answer := s.ask(t, "admin-token", http.MethodGet, "/api/v1/namespaces/"+namespace+"/secrets/"+name, nil)
	var secret chartObject
	if err := json.Unmarshal(answer, &secret); err != nil || status != http.StatusOK {
		t.Fatalf("the Secret %s: got %d", name, status)
	}
	text, err := base64.StdEncoding.DecodeString(secret.text("data", member))
	if err != nil {
		t.Fatalf("the Secret %s: %s is not base64", name, member)
	}
	return text
}
