package issuer_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A newcomer has a checkout and types what the README says, word for word.
type newcomer struct {
	dir string
}

// newNewcomer makes a folder that looks like a checkout: what is typed in it must
// leave nothing in the one that is tested.
func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{dir: t.TempDir()}
	for _, name := range []string{"go.mod", "go.sum", "main.go", "deploy", "issuer", "keys", "verify"} {
		from, err := filepath.Abs(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(n.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// types runs commands, and returns what the terminal shows.
func (n *newcomer) types(t *testing.T, commands string, env ...string) string {
	t.Helper()
	sh := exec.CommandContext(t.Context(), "/bin/sh", "-euc", commands)
	sh.Dir = n.dir
	sh.Env = append(sh.Environ(), env...)
	output, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, output)
	}
	return string(output)
}

func (n *newcomer) writes(t *testing.T, name, text string) {
	t.Helper()
	write(t, filepath.Join(n.dir, name), text)
}

// block returns the first block of a language in a part of the README.
func block(t *testing.T, part, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(part, "\n```"+language+"\n")
	text, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatalf("no block of %s in\n%s", language, part)
	}
	return text
}

// A newcomer comes from the README's first production step to a session, and to
// keys that are rotated.
func TestREADMEProduction(t *testing.T) {
	t.Parallel()
	curl := needs.Program(t, "curl", "install curl")
	n := newNewcomer(t)
	page := section(t, "\n## Run it in production\n", "\n### Settings\n")

	said := n.types(t, block(t, page, "sh"))
	secret := regexp.MustCompile(`csk_\w+`).FindString(said)
	organizations, customers, _ := strings.Cut(page, "\nCustomers come from")
	written, err := os.ReadFile(filepath.Join(n.dir, "organizations.json"))
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`[0-9a-f]{64}`)
	if got, want := hash.ReplaceAllString(string(written), ""), hash.ReplaceAllString(block(t, organizations, "json"), ""); got != want {
		t.Errorf("the organizations file is\n%s\nwant that of the page:\n%s", got, want)
	}
	n.writes(t, "customers.jsonl", block(t, customers, "json"))

	serve := strings.Replace(block(t, customers, "sh"), "./customersession serve", "exec ./customersession serve", 1)
	p := startProgram(t, "/bin/sh", []string{
		"CUSTOMERSESSION_ADDR=127.0.0.1:0", "CUSTOMERSESSION_OPERATIONS_ADDR=localhost:0",
	}, "-euc", "cd '"+n.dir+"'\n"+serve)
	base := "http://" + p.find(t, p.stderr, `"msg":"listening","addr":"([^"]+)"`)
	create := block(t, section(t, "\n## Create a session\n", "\n## Verify"), "sh")
	create = strings.NewReplacer("curl ", curl+" ", "http://127.0.0.1:8080", base).Replace(create)
	if answer := n.types(t, create, "API_KEY="+secret); !strings.Contains(answer, `"customer_portal_url":"https://portal.example.com/acme/portal?customer_session_token=`) {
		t.Errorf("creating a session gives\n%s", answer)
	}

	n.types(t, block(t, section(t, "\n### Rotate the keys\n", "\n### Operate it\n"), "sh"))
	if status := n.types(t, "./customersession keys status --file keys.json"); !strings.Contains(status, "Nothing is wrong.") {
		t.Errorf("the keys' status is\n%s", status)
	}
	operations := fixture{base: "http://" + p.find(t, p.stderr, `"operations_addr":"([^"]+)"`)}
	if a := operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK || strings.Contains(string(a.body), "warnings") {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	p.signal(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
