// Package needs states what a test needs besides Go.
//
// On a developer's machine a missing program skips the test, so that
// `go test ./...` passes with nothing but Go installed. In CI, where CI=true,
// it fails the test instead: a skipped test would hide what it should show.
//
// Tests that take minutes run where EXHAUSTIVE=true; `.ci/run exhaustive` runs
// them by name.
package needs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program returns the path of a program. It looks in the extra folders, which
// may be glob patterns, and then in PATH. If there is no such program, it skips
// or fails the test. The hint says how to install it.
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

// Path returns path. If nothing exists there, it skips or fails the test. The
// hint says how to make it.
func Path(t testing.TB, path, hint string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Missing(t, path, hint)
	}
	return path
}

// Missing skips the test because something is missing or unsuitable, or fails it
// in CI. The hint says how to get it.
func Missing(t testing.TB, what, hint string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing, and CI must not skip this test; %s", what, hint)
	}
	t.Skipf("%s is missing; %s", what, hint)
}

// Exhaustive reports whether tests run in full, with EXHAUSTIVE=true, instead
// of in the form that is quick enough for every run.
func Exhaustive() bool { return os.Getenv("EXHAUSTIVE") == "true" }

// Rehearsal reports whether tests run that wait for minutes, with REHEARSE=true: by
// hand, before what they are about changes.
func Rehearsal() bool { return os.Getenv("REHEARSE") == "true" }

// Race reports whether the race detector is on, under which some tests do less.
func Race() bool { return race }

// NoRace skips a test that runs a program of its own when the race detector is on: it
// would see nothing of what that does.
func NoRace(t testing.TB) {
	t.Helper()
	if race {
		t.Skip("the race detector does not see the program that this test runs")
	}
}

// Time skips a test that has no quick form unless tests are [Exhaustive]. The
// length is for the reader of the message, such as "a minute".
func Time(t testing.TB, length string) {
	t.Helper()
	if !Exhaustive() {
		t.Skipf("it takes %s; set EXHAUSTIVE=true to run it", length)
	}
}
