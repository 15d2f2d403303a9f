package issuer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A key whose secret nobody has seen is in the file all the same. The command
// that was asked for it fails, and says what to do.
func TestNewKeyThatIsNotShown(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile(needs.Path(t, "/dev/full", "run this on Linux"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	program := binary(t)
	file := filepath.Join(t.TempDir(), "organizations.json")
	if p := start(t, nil, "organization", "add", "--file", file, "--slug", "acme", "--portal-url", "https://portal.example.com/"); p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	var talk strings.Builder
	cmd := exec.Command(program, "apikey", "new", "--file", file, "--name", "checkout")
	cmd.Stdout, cmd.Stderr = full, &talk
	err = cmd.Run()
	want := "the secret was not shown (write /dev/stdout: no space left on device), but " + file +
		` has the key now: run apikey remove --name "checkout", and make another`
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(talk.String(), want) {
		t.Errorf("got %v and %q, want exit code 1 and %q", err, &talk, want)
	}
}
