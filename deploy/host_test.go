//go:build unix

package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A host is a folder that stands for a host with systemd, where the page is typed.
type host struct {
	*rehearsal

	root      string
	addresses *strings.Replacer // the real host to this one
	sockets   []*os.File
	names     []string
	server    *exec.Cmd
}

// Programs that need root or systemd: users do not exist here, and the test does
// what systemd would.
const (
	hostInstall = `#!/bin/sh
set -eu
for arg; do
  shift
  case $arg in
  -o | -g) skip=yes ;;
  *) [ "${skip-}" ] || set -- "$@" "$arg"; skip= ;;
  esac
done
exec %s "$@"
`
	hostRunuser = `#!/bin/sh
set -eu
[ "$1 $2 $3" = "-u customersession --" ]
shift 3
exec "$@"
`
	hostChown = `#!/bin/sh
set -eu
[ "$1" = root:customersession ]
[ -e "$2" ]
`
	// Units must have been installed.
	hostSystemctl = `#!/bin/sh
set -eu
for arg; do
  case $arg in *.service | *.socket | *.timer) [ -e '%s/etc/systemd/system/'"$arg" ] ;; esac
done
`
)

// TestHost types the page, and runs the commands of the units that it installed
// as systemd would.
func TestHost(t *testing.T) {
	t.Parallel()
	needs.Path(t, "/bin/kill", "install procps")
	program := buildCommand(t)
	checkHostSettings(t, program)
	h := &host{rehearsal: &rehearsal{}, root: t.TempDir()}
	h.public, h.operations = freePort(t), freePort(t)
	h.addresses = strings.NewReplacer("/etc/", h.root+"/etc/", "/var/", h.root+"/var/", "/usr/local/", h.root+"/usr/local/",
		"127.0.0.1:8080", h.public, "127.0.0.1:9090", h.operations)
	script, err := runbookScript("host/README.md", h.addresses.Replace(readHostFile(t, "README.md")))
	if err != nil {
		t.Fatal(err)
	}
	scripts := t.TempDir()
	if err := os.WriteFile(filepath.Join(scripts, "page.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(do func(*host, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(do(h, ts, args)) }
	}
	t.Run("page", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir:   scripts,
			Setup: func(env *testscript.Env) error { return h.setup(env, program) },
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"block":   rehearse((*rehearsal).block),
				"start":   run((*host).start),
				"restart": run((*host).restart),
				"reload":  run((*host).reload),
				"rotate":  run((*host).rotate),
				"session": run((*host).create),
			},
		})
	})
	h.checkModes(t)
	listening := `"msg":"listening","addr":"` + h.public + `","operations_addr":"` + h.operations + `"`
	for path, lines := range map[string][]string{
		h.journal(): {listening, `"msg":"reloading files"`, `"msg":"stopped"`},
		h.addresses.Replace("/var/log/customersession/customersession.log"): {listening},
	} {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(log), line) {
				t.Errorf("%s lacks %s:\n%s", filepath.Base(path), line, log)
			}
		}
	}
}

// checkHostSettings compares what the folder names with the settings of serve.
func checkHostSettings(t *testing.T, program string) {
	t.Helper()
	output, err := exec.Command(program, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^(CUSTOMERSESSION_\w+) +(\S+)`).FindAllStringSubmatch(string(output), -1) {
		defaults[line[1]] = line[2]
	}
	files, err := filepath.Glob("host/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, name := range regexp.MustCompile(`CUSTOMERSESSION_\w+`).FindAllString(readHostFile(t, filepath.Base(file)), -1) {
			if defaults[name] == "" {
				t.Errorf("%s names the setting %s, which does not exist", file, name)
			}
		}
	}
	checkHostLimits(t, defaults)
}

// setup makes the host: the folders that every host has, the files of a release,
// and the programs that stand in.
func (h *host) setup(env *testscript.Env, program string) error {
	h.folder, h.vars = env.WorkDir, filepath.Join(env.WorkDir, ".vars")
	env.Values[runbookKey] = h.rehearsal
	env.Defer(h.kill)
	install, err := exec.LookPath("install")
	if err != nil {
		return err
	}
	systemctl := fmt.Sprintf(hostSystemctl, h.root)
	programs := map[string]string{
		"install": fmt.Sprintf(hostInstall, install), "runuser": hostRunuser, "chown": hostChown,
		"useradd": "#!/bin/sh\n", "systemctl": systemctl, "journalctl": systemctl,
	}
	for name, text := range programs {
		if err := writeHostFile(filepath.Join(h.root, "stand-ins", name), text, 0o700); err != nil {
			return err
		}
	}
	for _, folder := range []string{"etc/systemd/system", "etc/logrotate.d", "var/lib", "var/log", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(h.root, folder), 0o755); err != nil {
			return err
		}
	}
	files, err := filepath.Glob("host/*")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeHostFile(filepath.Join(h.folder, "deploy", file), h.addresses.Replace(string(text)), 0o600); err != nil {
			return err
		}
	}
	env.Setenv("PATH", strings.Join([]string{
		filepath.Join(h.root, "stand-ins"), filepath.Join(h.root, "usr/local/bin"), env.Getenv("PATH"),
	}, string(os.PathListSeparator)))
	return errors.Join(os.Symlink(program, filepath.Join(h.folder, "customersession")), writeHostFile(h.vars, "", 0o600))
}

func writeHostFile(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

// installed reads a unit with its drop-ins.
func (h *host) installed(name string) (hostUnit, error) {
	path := filepath.Join(h.root, "etc/systemd/system", name)
	more, err := filepath.Glob(path + ".d/*.conf")
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, file := range append([]string{path}, more...) {
		part, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text.Write(part)
	}
	return parseHostUnit(text.String())
}

// hostCommand returns the one of a line such as ExecStart=, with the environment of
// its unit and nothing else.
func hostCommand(u hostUnit, key string) (*exec.Cmd, error) {
	words := strings.Fields(u.value(key))
	settings, err := os.ReadFile(u.value("EnvironmentFile"))
	if err != nil {
		return nil, err
	}
	command := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, words...)...)
	command.Env = append(slices.Clone(u["Environment"]), strings.Split(strings.TrimSpace(string(settings)), "\n")...)
	command.Env = slices.DeleteFunc(command.Env, func(line string) bool { return line == "" || strings.HasPrefix(line, "#") })
	return command, nil
}

// start opens the sockets and starts the server:
//
//	start
func (h *host) start(*testscript.TestScript, []string) error {
	service, err := h.installed("customersession.service")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(service.value("Sockets")) {
		u, err := h.installed(name)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", u.value("ListenStream"))
		if err != nil {
			return err
		}
		file, err := listener.(*net.TCPListener).File()
		if err := errors.Join(err, listener.Close()); err != nil {
			return err
		}
		h.sockets, h.names = append(h.sockets, file), append(h.names, u.value("FileDescriptorName"))
	}
	return h.run()
}

// run starts the server and waits until it is ready. A request waits in the
// socket.
func (h *host) run() error {
	service, err := h.installed("customersession.service")
	if err != nil {
		return err
	}
	if h.server, err = hostCommand(service, "ExecStart"); err != nil {
		return err
	}
	h.server.Env = append(h.server.Env, fmt.Sprintf("LISTEN_FDS=%d", len(h.sockets)), "LISTEN_FDNAMES="+strings.Join(h.names, ":"),
		"CUSTOMERSESSION_DRAIN_DELAY=0s") // nothing keeps a connection here
	h.server.ExtraFiles = h.sockets
	path, appended := strings.CutPrefix(service.value("StandardError"), "append:")
	if !appended {
		path = h.journal()
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	h.server.Stderr = log
	if err := h.server.Start(); err != nil {
		return err
	}
	return h.ready()
}

// journal is the file that stands for it.
func (h *host) journal() string { return filepath.Join(h.root, "journal") }

func (h *host) ready() error {
	client := http.Client{Timeout: runbookLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + h.operations + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("readiness: got %s", response.Status)
	}
	return nil
}

// restart stops the server, and starts the next one on the same sockets:
//
//	restart
func (h *host) restart(*testscript.TestScript, []string) error {
	if err := h.server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := h.server.Wait(); err != nil {
		return fmt.Errorf("the server ended: %w", err)
	}
	return h.run()
}

// reload runs what reloads the server:
//
//	reload
func (h *host) reload(*testscript.TestScript, []string) error {
	service, err := h.installed("customersession.service")
	if err != nil {
		return err
	}
	line := strings.ReplaceAll(service.value("ExecReload"), "$MAINPID", strconv.Itoa(h.server.Process.Pid))
	if output, err := exec.Command("/bin/sh", "-c", line).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, output)
	}
	return h.ready()
}

// rotate runs the rotation once:
//
//	rotate
func (h *host) rotate(*testscript.TestScript, []string) error {
	service, err := h.installed("customersession-rotate.service")
	if err != nil {
		return err
	}
	command, err := hostCommand(service, "ExecStart")
	if err != nil {
		return err
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

// create creates a session with the API key in a file:
//
//	session FILE
func (h *host) create(ts *testscript.TestScript, args []string) error {
	var made struct{ Secret string }
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &made); err != nil {
		return err
	}
	h.secret = made.Secret
	return h.session(ts, false, []string{"page"})
}

func (h *host) kill() {
	for _, socket := range h.sockets {
		_ = socket.Close()
	}
	if h.server != nil && h.server.Process != nil {
		_ = h.server.Process.Kill() // it may have ended already
		_ = h.server.Wait()
	}
}

// checkModes compares the table of the page with the files.
func (h *host) checkModes(t *testing.T) {
	t.Helper()
	rows := regexp.MustCompile("(?m)^\\| (`/.*`) \\| (\\w+), (\\w+), (0\\d+) \\|").FindAllStringSubmatch(readHostFile(t, "README.md"), -1)
	if len(rows) < 4 {
		t.Errorf("found %d rows about files", len(rows))
	}
	for _, row := range rows {
		for _, path := range regexp.MustCompile("[^`, ]+").FindAllString(row[1], -1) {
			info, err := os.Stat(h.addresses.Replace(path))
			if err != nil {
				t.Error(err)
			} else if got := fmt.Sprintf("0%o", info.Mode().Perm()); got != row[4] {
				t.Errorf("%s has mode %s, want %s as on the page", path, got, row[4])
			}
		}
	}
}
