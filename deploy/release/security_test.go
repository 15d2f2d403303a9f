package release_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every threat in SECURITY.md names tests that exist.
func TestSecurityPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if n := strings.Count(page, "\n"); n > 200 {
		t.Errorf("SECURITY.md has %d lines: nobody reads that", n)
	}
	rows := 0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Threat ") {
			rows++
			checkTestNames(t, line)
		}
	}
	if rows < 10 {
		t.Errorf("the table of threats has %d rows", rows)
	}
}

// The table of attacks on links names tests and browser checks that exist.
func TestLinkAttacks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../howto/codes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| Attack |")
	check := regexp.MustCompile("`([^`]+ [^`]+)`")
	rows, scripts := 0, browserScripts(t)
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		rows++
		checkTestNames(t, line)
		checks := check.FindAllStringSubmatch(line, -1)
		if len(checks) == 0 {
			t.Errorf("no browser check is named in %s", line)
		}
		for _, name := range checks {
			if !strings.Contains(scripts, name[1]) {
				t.Errorf("there is no browser check %q", name[1])
			}
		}
	}
	if rows != 12 {
		t.Errorf("the table of attacks has %d rows", rows)
	}
}

// browserScripts returns the source of the checks in Chromium.
func browserScripts(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("../../issuer/internal/demo/testdata/browser/*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

var testName = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)`")

// checkTestNames checks that a row of a table names tests, and that they exist.
func checkTestNames(t *testing.T, row string) {
	t.Helper()
	tests := testName.FindAllStringSubmatch(row, -1)
	if len(tests) == 0 {
		t.Errorf("no test is named in %s", row)
	}
	for _, test := range tests {
		if !hasTest(t, filepath.Join("../..", test[1]), test[2]) {
			t.Errorf("package %s has no %s", test[1], test[2])
		}
	}
}

// hasTest reports whether a folder has a test of that name.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
