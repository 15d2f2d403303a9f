package command_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/deploy/rig/needs"
)

// The system calls that change the disk, or make a change durable. A process
// killed between two of them leaves what a crash would leave there.
const diskCalls = "openat,write,pwrite64,fchown,fchmodat,fsync,close,link,linkat,rename,renameat,renameat2,unlink,unlinkat"

// A powerCase is a command that writes, on a manifest that is some days old.
type powerCase struct {
	name  string
	ahead time.Duration
	args  func(t *testing.T, path string) []string
}

func powerCases() []powerCase {
	return []powerCase{
		{"rotate", 720 * time.Hour, func(*testing.T, string) []string { return nil }},
		{"activate", 24 * time.Hour, func(*testing.T, string) []string { return nil }},
		{"rollback", 721 * time.Hour, func(*testing.T, string) []string { return nil }},
		{"add", 24 * time.Hour, func(*testing.T, string) []string { return nil }},
		{"policy", 24 * time.Hour, func(*testing.T, string) []string { return []string{"--algorithm", "EdDSA"} }},
		{"revoke", 24 * time.Hour, func(t *testing.T, path string) []string {
			t.Helper()
			return []string{manifest(t, path).Keys[0].ID()}
		}},
		{"import", 24 * time.Hour, func(t *testing.T, path string) []string {
			t.Helper()
			other := filepath.Join(filepath.Dir(filepath.Dir(path)), "other.json")
			jwks := manifest(t, other).Keys[0].Public.AppendJSON(nil)
			file := other + ".jwk"
			if err := os.WriteFile(file, jwks, 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--for", "24h", file}
		}},
	}
}

// TestPowerLoss kills every command that writes at each of its system calls
// that touch the disk: the file is then the old version or the new one, whole,
// the old one is beside the new one, and the next command works in spite of
// what was left behind.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	strace := needs.Program(t, "strace", "install strace")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range powerCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPower(t, strace, path)
			file := p.start(t)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"keys", tc.name, "--file", file}, tc.args(t, file)...)
			p.ahead = tc.ahead
			p.killEverywhere(t, file, before, args)
		})
	}
	t.Run("init", func(t *testing.T) {
		t.Parallel()
		p := newPower(t, strace, path)
		file := filepath.Join(p.dir, "made", "keys.json")
		p.killEverywhere(t, file, nil, []string{"keys", "init", "--bootstrap", "--file", file})
	})
}

type power struct {
	strace, program, dir string
	ahead                time.Duration // how far the clock of the command is ahead
}

func newPower(t *testing.T, strace, program string) *power {
	t.Helper()
	p := &power{strace: strace, program: program, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(p.dir, "made"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// start makes the manifest that exists before the command runs.
func (p *power) start(t *testing.T) string {
	t.Helper()
	file := filepath.Join(p.dir, "made", "keys.json")
	for _, name := range []string{file, filepath.Join(p.dir, "other.json")} {
		if output, err := p.command(nil, "keys", "init", "--bootstrap", "--file", name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	return file
}

// command returns the program, run by the words before it.
func (p *power) command(before []string, args ...string) *exec.Cmd {
	line := append(append(append([]string{}, before...), p.program), args...)
	cmd := exec.Command(line[0], line[1:]...)
	// strace counts the calls of each thread separately.
	cmd.Env = []string{clock.Shifted(p.ahead).Env(), clock.OneThread + "=1"}
	return cmd
}

// killEverywhere kills the command at its first disk call, at its second, and so
// on until it ends by itself.
func (p *power) killEverywhere(t *testing.T, file string, before []byte, args []string) {
	t.Helper()
	calls := p.calls(t, file, before, args)
	old, renewed := 0, 0
	for _, c := range calls {
		p.restore(t, file, before)
		// Killed as it enters the call, which is then not made.
		kill := []string{
			p.strace, "-qq", "-o", "/dev/null", "-e", "trace=" + diskCalls,
			"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", c.name, c.nth),
		}
		if err := p.command(kill, args...).Run(); err == nil {
			t.Fatalf("it was not killed at %v", c)
		}
		got, err := os.ReadFile(file)
		switch {
		case before == nil && os.IsNotExist(err), err == nil && bytes.Equal(got, before):
			old++
		case err != nil:
			t.Fatalf("killed at %v: %v", c, err)
		default:
			manifest(t, file) // whole and valid
			renewed++
		}
		previous, err := os.ReadFile(file + ".previous")
		if !os.IsNotExist(err) && !bytes.Equal(previous, before) || os.IsNotExist(err) && before != nil && !bytes.Equal(got, before) {
			t.Errorf("killed at %v: the previous version is %q, %v", c, previous, err)
		}
		if output, err := p.command(nil, "keys", "status", "--file", file).CombinedOutput(); err != nil && (before != nil || got != nil) {
			t.Fatalf("killed at %v, then: %v\n%s", c, err, output)
		}
	}
	t.Logf("killed at %d calls: %d times the old version, %d times the new one", len(calls), old, renewed)
	if old == 0 || renewed == 0 {
		t.Errorf("%d times the old version and %d times the new one, want both", old, renewed)
	}
}

// restore puts the manifest and its folder back.
func (p *power) restore(t *testing.T, file string, before []byte) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*.json.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(left, file, file+".previous") {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if before == nil {
		return
	}
	if err := os.WriteFile(file, before, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A call is a system call: the nth one of that name.
type call struct {
	name string
	nth  int
}

// calls runs the command to its end and returns its disk calls. It also checks
// their order: the contents are durable before the file has its name, and the
// name is durable before the command reports.
func (p *power) calls(t *testing.T, file string, before []byte, args []string) []call {
	t.Helper()
	p.restore(t, file, before)
	log := filepath.Join(p.dir, "calls")
	trace := []string{p.strace, "-qq", "-y", "-o", log, "-e", "trace=" + diskCalls}
	if output, err := p.command(trace, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.QuoteMeta(filepath.Base(file))
	temporary := place + `\.\d`
	order := regexp.MustCompile(`(?s)write\(\d+<[^>]*/\.` + temporary + `.*fsync\(\d+<[^>]*/\.` + temporary +
		`.*(?:rename|link)\w*\(.*` + place + `".*fsync\(\d+<` + regexp.QuoteMeta(filepath.Dir(file)) + `>.*write\(1`)
	if !order.Match(data) {
		t.Errorf("want write, fsync, rename, fsync of the folder and then the report, got\n%s", data)
	}
	var calls []call
	count := map[string]int{}
	for _, line := range regexp.MustCompile(`(?m)^\w+\(`).FindAllString(string(data), -1) {
		name := strings.TrimSuffix(line, "(")
		count[name]++
		calls = append(calls, call{name, count[name]})
	}
	return calls
}
