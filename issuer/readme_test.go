package issuer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
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
	var table strings.Builder
	if err := issuer.WriteSettings(&table); err != nil {
		t.Fatal(err)
	}
	got := section(t, "<!-- settings: customersession config -->\n", "<!-- end of settings -->")
	if got != table.String() {
		t.Errorf("the README's table of settings is not what customersession config prints:\n%s", table.String())
	}
}

// The README's program in another language verifies a token.
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
