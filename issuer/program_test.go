package issuer_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startLimit is how long a process may take for what takes milliseconds on an
// idle machine.
const startLimit = 30 * time.Second

// A process is the command at work. It is stopped at the end of the test.
type process struct {
	cmd    *exec.Cmd
	stdout *transcript
	stderr *transcript
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// start runs the command with arguments and environment variables of ours.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, binary(t), env, args...)
}

func startProgram(t testing.TB, path string, env []string, args ...string) *process {
	t.Helper()
	return startWith(t, path, env, nil, args...)
}

// startWith is startProgram with another standard error, unless that is nil.
func startWith(t testing.TB, path string, env []string, stderr *os.File, args ...string) *process {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{}, env...) // nothing else of the environment
	if stderr != nil {
		cmd.Stderr = stderr
	}
	return startCommand(t, cmd)
}

// startCommand starts cmd, whose output the process keeps unless it goes
// elsewhere.
func startCommand(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, stdout: newTranscript(), stderr: newTranscript(), exited: make(chan struct{})}
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = p.stdout
	}
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = p.stderr
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		// The process may be gone already.
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// signal asks the process to stop.
func (p *process) signal(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// wait returns the exit code of a process that ends.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(startLimit):
		t.Fatalf("the process did not end; it wrote\n%s%s", p.stdout, p.stderr)
		return -1
	}
}

// find waits until the pattern matches something that the process wrote, and
// returns the first group of the match.
func (p *process) find(t testing.TB, in *transcript, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	timeout := time.After(startLimit)
	for {
		match, more := in.match(expression)
		if match != nil {
			return match[len(match)-1]
		}
		select {
		case <-more:
		case <-p.exited:
			if match, _ := in.match(expression); match != nil {
				return match[len(match)-1]
			}
			t.Fatalf("the process ended without writing %q; it wrote\n%s%s", pattern, p.stdout, p.stderr)
		case <-timeout:
			t.Fatalf("the process did not write %q; it wrote\n%s%s", pattern, p.stdout, p.stderr)
		}
	}
}

// A transcript keeps what a process writes, and tells when there is more.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.more)
	w.more = make(chan struct{})
	return w.text.Write(b)
}

func (w *transcript) match(expression *regexp.Regexp) (match []string, more <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return expression.FindStringSubmatch(w.text.String()), w.more
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
