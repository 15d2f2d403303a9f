package deploy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/verifytest"
)

// buildCommand returns the command, as it would be installed.
func buildCommand(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "customersession")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/customersession/customersession")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v\n%s", err, output)
	}
	return path
}

// askAuthz returns status and body of an answer.
func askAuthz(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// An authzLine is one of the log.
type authzLine struct {
	Msg            string `json:"msg"`
	Addr           string `json:"addr"`
	OperationsAddr string `json:"operations_addr"`
}

// The command from its flags to its end.
func TestGatewayCommand(t *testing.T) {
	t.Parallel()
	program, issuer := buildCommand(t), newPageIssuer(t)
	snapshot := filepath.Join(t.TempDir(), "keys.json")
	command := exec.CommandContext(t.Context(), program, "authz", "--issuer", issuer.URL(), "--audience", issuer.Audience(),
		"--jwks-url", issuer.JWKSetURL(), "--algorithms", "ES256", "--scope", "customer_portal:write", "--snapshot-file", snapshot,
		"--addr", "127.0.0.1:0", "--operations-addr", "127.0.0.1:0", "--drain-delay", "100ms", "--log-level", "debug")
	command.WaitDelay = runbookLimit
	pipe, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(pipe)
	var lines []string
	until := func(message string) (line authzLine) {
		t.Helper()
		for said.Scan() {
			lines = append(lines, said.Text())
			if err := json.Unmarshal(said.Bytes(), &line); err != nil {
				t.Fatalf("a line of the log is not JSON: %s", said.Text())
			}
			if line.Msg == message {
				return line
			}
		}
		t.Fatalf("the command ended without saying %q:\n%s", message, strings.Join(lines, "\n"))
		return line
	}
	started := until("listening")
	until("keys are there")

	good, expired := issuer.Token(verifytest.TokenSpec{}), issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	for _, test := range []struct {
		name, url, token string
		status           int
		body             string
	}{
		{"good", started.Addr, good, 204, ""},
		{"expired", started.Addr, expired, 401, "invalid_token"},
		{"without the scope", started.Addr, issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"scope": "openid"}}), 403, "insufficient_scope"},
		{"live", started.OperationsAddr + "/livez", "", 200, `"ok"`},
		{"ready", started.OperationsAddr + "/readyz", "", 200, `"fresh"`},
		{"metrics", started.OperationsAddr + "/metrics", "", 200, `customersession_verify_tokens_total{cached="false",result="expired"} 1`},
	} {
		status, body := askAuthz(t, "http://"+test.url, test.token)
		if status != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s: got %d %q, want %d %q", test.name, status, body, test.status, test.body)
		}
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("draining")
	for said.Scan() {
		lines = append(lines, said.Text())
	}
	if err := command.Wait(); err != nil {
		t.Errorf("the command ended with %v", err)
	}
	// Writing it takes the disk as long as it takes, but no longer than the command.
	if info, err := os.Stat(snapshot); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the snapshot of the keys: got %v, %v", info, err)
	}
	for _, token := range []string{good, expired} {
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(strings.Join(lines, "\n"), part) {
				t.Error("a part of a token is in the log")
			}
		}
	}
	checkAuthzMisused(t, program)
}

// checkAuthzMisused shows that mistakes are told apart from failures.
func checkAuthzMisused(t *testing.T, program string) {
	t.Helper()
	for _, test := range []struct {
		args, want string
	}{
		{"", "--issuer"},
		{"--issuer http://sessions.example.com", "https"},
		{"--issuer https://sessions.example.com --algorithms HS256", "HS256"},
		{"--issuer https://sessions.example.com --status 302", "302"},
		{"--issuer https://sessions.example.com --audience=", "Audience"},
		{"--issuer https://sessions.example.com more", "more"},
	} {
		command := exec.CommandContext(t.Context(), program, append([]string{"authz"}, strings.Fields(test.args)...)...)
		output, err := command.CombinedOutput()
		if err == nil || command.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), test.want) {
			t.Errorf("authz %s: got exit code %d and %q, want 2 and %q", test.args, command.ProcessState.ExitCode(), output, test.want)
		}
	}
}
