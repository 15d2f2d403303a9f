// Package needs lets a test name a program that it cannot do without.
//
// On a developer's machine a missing program skips the test, so that
// `go test ./...` passes with nothing but Go installed. In CI, where CI=true,
// it fails the test instead: a skipped test would hide what it should show.
package needs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program returns the path of the program called name, found in PATH or in
// one of the extra folders (glob patterns are allowed), and skips or fails the
// test when there is none. The hint says how to install it.
func Program(t testing.TB, name, hint string, extra ...string) string {
	t.Helper()
	for _, pattern := range extra {
		found, err := filepath.Glob(filepath.Join(pattern, name))
		if err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "program "+name, hint)
	}
	return path
}

// Path skips or fails the test when nothing exists at path. The hint says how
// to make it.
func Path(t testing.TB, path, hint string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Missing(t, path, hint)
	}
	return path
}

// Missing skips the test because of what is not there, or fails it in CI. The
// hint says how to get it.
func Missing(t testing.TB, what, hint string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing, and CI must not skip this test; %s", what, hint)
	}
	t.Skipf("%s is missing; %s", what, hint)
}
