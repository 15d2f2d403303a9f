//go:build unix

package kubesecret_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/customersession/customersession/keys"
)

// A customersession is the real program with a kubeconfig.
type customersession struct {
	program, kubeconfig, secret string
}

func (c customersession) run(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(c.program, append([]string{"keys"}, args...)...)
	cmd.Args = append(cmd.Args, "--kubernetes-secret", c.secret)
	cmd.Env = []string{"KUBECONFIG=" + c.kubeconfig, "HOME=" + filepath.Dir(c.kubeconfig)}
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err = cmd.Run()
	return out.String(), talk.String(), err
}

func (c customersession) must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := c.run(args...)
	if err != nil {
		t.Fatalf("keys %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

// buildProgram returns the path of the real program.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "customersession")
	build := exec.Command("go", "build", "-o", program, "github.com/customersession/customersession")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v\n%s", err, output)
	}
	return program
}

// TestCommandRunsPlugin refuses the token of a plugin, which then runs again and
// fails. Its standard error is shown, and no line of a log beside it.
func TestCommandRunsPlugin(t *testing.T) {
	t.Parallel()
	secret := hide("b7Xk2LwQ9sVd4TgM1pRe")
	refuse := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, statusJSON(401, "Unauthorized", "Unauthorized"))
	})
	again := filepath.Join(t.TempDir(), "again")
	config := refuse.config(t, runs(t, "echo please log in >&2\n"+
		"if [ -e "+again+" ]; then echo '{\"kind\": \""+secret+"\"}'; exit; fi\ntouch "+again+"\n"+
		prints(t, object{"token": secret}), ""))
	c := customersession{buildProgram(t), config.Kubeconfig, "shop/keys"}
	_, stderr, err := c.run("status")
	if err == nil {
		t.Error("got no error from status")
	}
	wantNothingHidden(t, stderr)
	const want = "please log in\nplease log in\n" +
		"customersession: reading Secret shop/keys: the API server answers with status 401 Unauthorized: Unauthorized: " +
		"it does not accept the credentials; they may have expired, or belong to another cluster\n"
	if stderr != want {
		t.Errorf("got %q, want %q", stderr, want)
	}
}

// TestCommands runs the real commands on a Secret of a real API server.
func TestCommands(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	program := buildProgram(t)
	as := func(user string) customersession {
		return customersession{program, k.kubeconfig(t, k.server.url(), user), namespace + "/keys"}
	}
	admin, writer, reader := as("admin"), as("writer"), as("reader")

	if got := admin.must(t, "init", "--bootstrap"); !strings.Contains(got, "wrote version 1") {
		t.Errorf("init: got %s", got)
	}
	if _, stderr, err := admin.run("init", "--bootstrap"); err == nil || !strings.Contains(stderr, "exists already") {
		t.Errorf("init again: got %v, %s", err, stderr)
	}
	// The CronJob may get and update that one Secret, and no more.
	if got := writer.must(t, "rotate"); !strings.Contains(got, "nothing is due; version 1 stays") {
		t.Errorf("rotate: got %s", got)
	}
	if got := writer.must(t, "activate"); !strings.Contains(got, "wrote version 2") {
		t.Errorf("activate: got %s", got)
	}
	if got := reader.must(t, "status"); !strings.Contains(got, "version 2") {
		t.Errorf("status: got %s", got)
	}
	if _, stderr, err := reader.run("add"); err == nil || !strings.Contains(stderr, "update") {
		t.Errorf("a reader that writes: got %v, %s", err, stderr)
	}

	// Two at once: the second begins anew, from what the first wrote.
	var together sync.WaitGroup
	for range 2 {
		together.Go(func() {
			if _, stderr, err := writer.run("add"); err != nil {
				t.Errorf("add: %v\n%s", err, stderr)
			}
		})
	}
	together.Wait()
	m, err := keys.ParseManifest(k.text(t, namespace))
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != 4 || len(m.Keys) != 5 {
		t.Errorf("got version %d with %d keys, want 4 with 5: nothing that was added is lost", m.Version, len(m.Keys))
	}

	// The server reads the Secret as a mounted file.
	mounted := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(mounted, k.text(t, namespace), 0o600); err != nil {
		t.Fatal(err)
	}
	// The set changes with time, so that of the Secret is taken before and after.
	before := writer.must(t, "jwks")
	got, err := exec.Command(program, "keys", "jwks", "--file", mounted).Output()
	if after := writer.must(t, "jwks"); err != nil || string(got) != before && string(got) != after {
		t.Errorf("the JWK Set of the file differs from that of the Secret: %v", err)
	}
}
