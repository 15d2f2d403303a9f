package deploy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/deploy/rig/postgres"
)

const (
	deviceRunbook = "runbooks/hsm-lost.md"
	// runbookLimit is how long something may take that takes milliseconds on an
	// idle machine.
	runbookLimit = 20 * time.Second
	runbookPause = 100 * time.Millisecond
	// runbookKey is where a script keeps its rehearsal.
	runbookKey = "rehearsal"
)

// TestRunbooks does what the runbooks say, word for word and in order, each in
// a folder of its own: every block of shell commands must end well, and print
// the lines that the page shows after it. Time passes on a clock that the
// program believes. See runbookScript for how a page is read.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = slices.DeleteFunc(pages, func(page string) bool { return page == deviceRunbook })
	if len(pages) < 9 {
		t.Fatalf("there are only the pages %q", pages)
	}
	rehearseAll(t, pages)
}

// TestRunbookOfDevice is TestRunbooks for the one that needs a device.
func TestRunbookOfDevice(t *testing.T) {
	t.Parallel()
	needs.Program(t, "gcc", "install gcc")
	needs.Program(t, "softhsm2-util", "install softhsm2")
	needs.Program(t, "pkcs11-tool", "install opensc")
	needs.Path(t, "/usr/lib/softhsm/libsofthsm2.so", "install softhsm2")
	rehearseAll(t, []string{deviceRunbook}, "-tags=pkcs11")
}

// rehearseAll rehearses pages with a program that is built with the flags.
func rehearseAll(t *testing.T, pages []string, flags ...string) {
	t.Helper()
	needs.Program(t, "curl", "install curl")
	program := clock.Build(t, "github.com/customersession/customersession", flags...)
	scripts := t.TempDir()
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		script, err := runbookScript(page, string(text))
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(page), ".md") + ".txtar"
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:   scripts,
		Setup: func(env *testscript.Env) error { return newRehearsal(env, program) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"block":    rehearse((*rehearsal).block),
			"clock":    rehearse((*rehearsal).moveClock),
			"replica":  rehearse((*rehearsal).replica),
			"session":  rehearse((*rehearsal).session),
			"accepted": rehearse((*rehearsal).accepted),
			"postgres": rehearse(func(r *rehearsal, _ *testscript.TestScript, _ bool, _ []string) error { return r.startPostgres(t) }),
			"sql": rehearse(func(r *rehearsal, ts *testscript.TestScript, _ bool, args []string) error {
				r.database.Exec(t, "public", ts.ReadFile(args[0]))
				return nil
			}),
		},
	})
}

// A rehearsal is the world of one runbook.
type rehearsal struct {
	program string
	folder  string
	// vars is a file with the shell's variables, which all blocks share, as
	// they do in the terminal of whoever follows the runbook.
	vars   string
	began  time.Time
	passed time.Duration // since then, on the clock of the program

	// Of the replica: its addresses, an API key, more settings, how far its
	// clock is ahead, and the process.
	public, operations string
	secret             string
	settings           []string
	ahead              time.Duration
	running            *exec.Cmd

	database *postgres.Server // of a page that needs one
}

func newRehearsal(env *testscript.Env, program string) error {
	r := &rehearsal{
		program: program, folder: env.WorkDir, began: time.Now(),
		vars: filepath.Join(env.WorkDir, ".vars"),
	}
	env.Values[runbookKey] = r
	env.Defer(r.stop)
	env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
	var err error
	for _, address := range []*string{&r.public, &r.operations} {
		if *address, err = freeAddress(); err != nil {
			return err
		}
	}
	// curl goes where the replica really is, and the text stays as it is.
	curl := fmt.Sprintf("noproxy = *\nconnect-to = 127.0.0.1:8080:%s\nconnect-to = 127.0.0.1:9090:%s\n", r.public, r.operations)
	for name, text := range map[string]string{".curlrc": curl, ".vars": ""} {
		if err := os.WriteFile(filepath.Join(r.folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return r.setClock(0)
}

// startPostgres starts a server. Owner.dsn connects whoever may make tables to it,
// and revocations.dsn the role customersession, which may do nothing yet:
//
//	postgres
func (r *rehearsal) startPostgres(t testing.TB) error {
	t.Helper()
	r.database = postgres.New(t)
	r.database.Start(t)
	r.database.Exec(t, "public", "CREATE ROLE customersession LOGIN")
	return errors.Join(
		os.WriteFile(filepath.Join(r.folder, "owner.dsn"), []byte(r.database.DSN("postgres", "public")), 0o600),
		os.WriteFile(filepath.Join(r.folder, "revocations.dsn"), []byte(r.database.DSN("customersession", "public")), 0o600),
	)
}

func rehearse(do func(*rehearsal, *testscript.TestScript, bool, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		r := ts.Value(runbookKey).(*rehearsal)
		ts.Check(do(r, ts, neg, args))
	}
}

// lastPort is the port that a test was given last, so that no other one is.
var lastPort atomic.Uint32

// freeAddress returns a loopback address that nobody listens at, and whose port
// is not one that connections are given: it must be free again and again.
func freeAddress() (string, error) {
	lastPort.CompareAndSwap(0, rand.Uint32N(10_000))
	var problem error
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+lastPort.Add(1)%10_000))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
		problem = err
	}
	return "", problem
}

// block runs a file with sh, and compares what it prints with a text:
//
//	block FILE [eventually] [TEXT]
func (r *rehearsal) block(ts *testscript.TestScript, neg bool, args []string) error {
	text := ""
	if last := args[len(args)-1]; strings.HasSuffix(last, ".txt") {
		text = ts.ReadFile(last)
	}
	deadline := time.Now()
	if slices.Contains(args, "eventually") {
		deadline = deadline.Add(runbookLimit)
	}
	for {
		output, err := r.sh(ts, args[0])
		if err = judge(neg, err, text, output); err == nil || time.Now().After(deadline) {
			ts.Logf("%s%s", ts.ReadFile(args[0]), output)
			return err
		}
		<-time.After(runbookPause)
	}
}

// sh runs a file as if it were typed, and returns what the terminal shows.
func (r *rehearsal) sh(ts *testscript.TestScript, file string) (string, error) {
	const keepVariables = `set -a; . "$0"; set -e; . "$1"; export -p >"$0"`
	command := exec.Command("sh", "-c", keepVariables, r.vars, ts.MkAbs(file))
	command.Dir = r.folder
	command.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + r.folder}
	output, err := command.CombinedOutput()
	return string(output), err
}

func judge(neg bool, err error, text, output string) error {
	switch line := missingLine(text, output); {
	case neg && err == nil:
		return errors.New("the block ended well, want it to fail")
	case !neg && err != nil:
		return fmt.Errorf("the block failed: %w", err)
	case line != "":
		return fmt.Errorf("the block did not print, or not there: %s", line)
	}
	return nil
}

// moveClock lets time pass; the replica is started again in the new time:
//
//	clock DURATION
func (r *rehearsal) moveClock(ts *testscript.TestScript, _ bool, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	r.passed += d
	if err := r.setClock(r.passed); err != nil || r.running == nil {
		return err
	}
	return r.start()
}

// clockAt is a clock that is ahead of the real one.
func (r *rehearsal) clockAt(ahead time.Duration) string {
	return clock.Clock{Base: r.began, Scale: 1, Offset: ahead}.Env()
}

// setClock sets the clock of the commands in the blocks.
func (r *rehearsal) setClock(ahead time.Duration) error {
	file, err := os.OpenFile(r.vars, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, r.clockAt(ahead))
	return errors.Join(err, file.Close())
}
