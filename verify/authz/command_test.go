package authz_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// runCommand is the name under which the test binary is the command.
const runCommand = "authz-under-test"

func TestMain(m *testing.M) {
	if os.Args[0] != runCommand {
		m.Run()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	command := authz.NewCommand("v0.0.0-test")
	command.SetArgs(os.Args[1:])
	if err := command.ExecuteContext(ctx); err != nil {
		panic(err)
	}
}

// A process is the command, running.
type process struct {
	*exec.Cmd

	log  io.ReadCloser
	addr string
}

// start runs the command until it listens.
func start(t *testing.T, issuer *verifytest.Issuer, args ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), program)}
	p.Args = append([]string{
		runCommand, "--issuer", issuer.URL(), "--audience", issuer.Audience(), "--jwks-url", issuer.JWKSetURL(), "--addr", "127.0.0.1:0",
	}, args...)
	if p.log, err = p.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var first struct{ Msg, Addr, Version string }
	if err := json.NewDecoder(p.log).Decode(&first); err != nil || first.Msg != "listening" || first.Version != "v0.0.0-test" {
		t.Fatalf("the log begins with %+v, %v", first, err)
	}
	p.addr = "http://" + first.Addr
	return p
}

// stop ends the command by SIGTERM, and fails the test if it does not end well
// within a time in which nothing but a log that is stuck could hold it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the command ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the command does not end")
	}
}

// Neither the end of a terminal nor that of the log's reader ends the command.
func TestCommandSurvives(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Loopback: true})
	p := start(t, issuer, "--log-level", "debug")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := p.log.Close(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if got := get(p.addr, "a.b.c"); got != "401 Unauthorized" {
			t.Fatalf("a bad token: got %s", got)
		}
	}
	if got := get(p.addr, issuer.Token(verifytest.TokenSpec{})); got != "204 No Content" {
		t.Errorf("a good token: got %s", got)
	}
	p.stop(t)
}

// A reader of the log that is stuck blocks no answer, and not the end.
func TestCommandWithAStuckLog(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Loopback: true})
	p := start(t, issuer, "--log-level", "debug")
	// More than a pipe holds, which is 64 KiB, with two lines for each request.
	for range 1000 {
		if got := get(p.addr, "a.b.c"); got != "401 Unauthorized" {
			t.Fatalf("a bad token: got %s", got)
		}
	}
	p.stop(t)
}

// The log ends with the line that says so.
func TestCommandLogEnds(t *testing.T) {
	t.Parallel()
	p := start(t, verifytest.NewIssuer(t, verifytest.Config{Loopback: true}))
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(p.log); lines.Scan(); {
		last = lines.Text()
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(last, `"msg":"stopped"`) {
		t.Errorf("the log ends with %s", last)
	}
}
