package issuer_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// section returns what stands between two texts of the README.
func section(t *testing.T, from, to string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), from)
	text, _, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("the README has nothing between %q and %q", from, to)
	}
	return text
}

func TestREADMESettings(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "config", "--markdown")
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	got := section(t, "<!-- settings: customersession config --markdown -->\n", "<!-- end of settings -->")
	if got != p.stdout.String() {
		t.Errorf("the README's table of settings is not what customersession config --markdown prints:\n%s", p.stdout)
	}
}

// The settings for people are all of them, and fit a terminal.
func TestCommandSettings(t *testing.T) {
	t.Parallel()
	config, help := start(t, nil, "config"), start(t, nil, "serve", "--help")
	if code := config.wait(t) + help.wait(t); code != 0 {
		t.Fatalf("exit codes %d: %s%s", code, config.stderr, help.stderr)
	}
	text := config.stdout.String()
	if !strings.Contains(help.stdout.String(), text) {
		t.Errorf("serve --help does not list the settings:\n%s", help.stdout)
	}
	for line := range strings.Lines(text) {
		if len(line) > 100 {
			t.Errorf("a line has %d columns: %s", len(line), line)
		}
	}
	table := section(t, "<!-- settings: customersession config --markdown -->\n", "<!-- end of settings -->")
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 20 {
		t.Errorf("the README's table of settings has %d rows", len(rows))
	}
	for _, row := range rows {
		name, preset, meaning := row[1], row[2], row[3]
		switch preset {
		case "**required**":
			preset = "(required)"
		case "":
			preset = "-"
		}
		words := strings.Join(strings.Fields(text), " ")
		if !strings.Contains(words, name+" "+preset+" "+meaning) {
			t.Errorf("config does not print %s, %s, %s", name, preset, meaning)
		}
	}
}

// Every JSON example of the README is JSON.
func TestREADMEJSON(t *testing.T) {
	t.Parallel()
	examples := strings.Split(section(t, "", "\n## Contributing\n"), "\n```json\n")[1:]
	if len(examples) < 2 {
		t.Errorf("the README has %d JSON examples, want 2 or more", len(examples))
	}
	for _, example := range examples {
		if text, _, _ := strings.Cut(example, "```"); !json.Valid([]byte(text)) {
			t.Errorf("this is not JSON:\n%s", text)
		}
	}
}

// The README's curl command works after the line that dev prints, both pasted.
func TestREADMEFirstSession(t *testing.T) {
	t.Parallel()
	needs.Program(t, "curl", "install curl")
	d := startDev(t)
	export := d.find(t, d.stdout, `\n  (export API_KEY=.*\n)`)
	create := block(t, section(t, "\n## Create a session\n", "\n## Verify"), "sh")
	answer := newNewcomer(t).types(t, export+strings.ReplaceAll(create, "http://127.0.0.1:8080", d.base))
	if !strings.Contains(answer, `"customer_portal_url":"`+d.base+"/portal?customer_session_token=") {
		t.Errorf("the answer is %s", answer)
	}
}

// The README's Go program compiles in a module that requires ours, and verifies
// a token.
func TestREADMEGo(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	account := fixture{base: "http://" + startAccount(t, d)}
	_, token, _ := strings.Cut(d.link, "customer_session_token=")
	for token, want := range map[string]string{
		token:                "customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b",
		token[:len(token)-2]: refusedToken,
	} {
		a := roundTrip(t, account.request(t, http.MethodGet, "/account", "", "Authorization", "Bearer "+token))
		if strings.TrimSpace(string(a.body)) != want {
			t.Errorf("got %d %s, want %s", a.status, a.body, want)
		}
	}
}

const refusedToken = `{"error":"invalid_token","error_description":"The token is not valid here"}`

// The README's landing route compiles in its Go program: it is registered where that
// registers /account.
func TestREADMEPortal(t *testing.T) {
	t.Parallel()
	program := section(t, "<!-- run: issuer/readme_test.go -->\n```go\n", "```")
	landing := block(t, section(t, "A portal signs customers in", "\n## End a session\n"), "go")
	const account = `	http.Handle("/account", verifier.Middleware(account))` + "\n"
	if !strings.Contains(program, account) {
		t.Fatal("the program has no /account")
	}
	buildGo(t, strings.Replace(program, account, landing, 1))
}

// The README's commands end a session, and its Go program refuses the token.
func TestREADMEEnd(t *testing.T) {
	t.Parallel()
	needs.Program(t, "curl", "install curl")
	d := startDev(t)
	export := d.find(t, d.stdout, `\n  (export API_KEY=.*\n)`)
	addresses := strings.NewReplacer("http://127.0.0.1:8080", d.base, "127.0.0.1:9000", startAccount(t, d))
	text := section(t, "\n## End a session\n", "\n## Run it")
	_, rest, _ := strings.Cut(text, "End it.")
	n := newNewcomer(t)
	shown := n.types(t, addresses.Replace(export+block(t, text, "sh")+block(t, rest, "sh")))
	ended := time.Now()
	if first, _, _ := strings.Cut(shown, "\n"); first != "customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b" {
		t.Errorf("the terminal shows %s", shown)
	}
	answer, err := os.ReadFile(filepath.Join(n.dir, "session.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(string(answer), `"token":"`)
	token, _, _ = strings.Cut(token, `"`)
	account := fixture{base: addresses.Replace("http://127.0.0.1:9000")}
	for time.Since(ended) < startLimit {
		a := roundTrip(t, account.request(t, http.MethodGet, "/account", "", "Authorization", "Bearer "+token))
		if strings.TrimSpace(string(a.body)) == refusedToken {
			t.Logf("refused %v after the commands", time.Since(ended).Round(time.Millisecond))
			return
		}
	}
	t.Errorf("the service still accepts the token after %v", startLimit)
}

// startAccount builds and starts the README's Go program, and returns its address.
func startAccount(t *testing.T, d *devServer) string {
	t.Helper()
	listener := listen(t)
	address := listener.Addr().String()
	program := section(t, "<!-- run: issuer/readme_test.go -->\n```go\n", "```")
	program = strings.NewReplacer("http://127.0.0.1:8080", d.base, "127.0.0.1:9000", address).Replace(program)
	binary := buildGo(t, program)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	startProgram(t, binary, nil)
	awaitListener(t, address)
	return address
}

// buildGo builds a program in this module, and returns its path.
func buildGo(t *testing.T, program string) (binary string) {
	t.Helper()
	source, binary := filepath.Join(t.TempDir(), "main.go"), filepath.Join(t.TempDir(), "account")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return binary
}

// awaitListener waits until a program listens.
func awaitListener(t *testing.T, address string) {
	t.Helper()
	timeout, again := time.After(startLimit), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for {
		if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-again.C:
		case <-timeout:
			t.Fatalf("nothing listens on %s", address)
		}
	}
}

// The README's JavaScript program verifies a token.
func TestREADMEOtherLanguage(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	modules := needs.Path(t, "testdata/sdk/node_modules", "run npm ci --prefix issuer/testdata/sdk")
	program := section(t, "<!-- run: issuer/readme_test.go -->\n```js\n", "```")
	dir := t.TempDir()
	absolute, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(absolute, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "verify.mjs"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDev(t)
	_, token, _ := strings.Cut(d.link, "customer_session_token=")
	for token, want := range map[string]string{token: "customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b\n", token[:len(token)-2]: ""} {
		run := exec.CommandContext(t.Context(), node, "verify.mjs", d.base, token)
		run.Dir = dir
		output, err := run.Output()
		if string(output) != want || (err == nil) != (want != "") {
			t.Errorf("got %q, %v, want %q", output, err, want)
		}
	}
}
