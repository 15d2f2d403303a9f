package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A containerEngine is podman with images, containers and networks of its own,
// in a folder that goes when the test ends. Podman is the one in bin, which
// hands the Go image of this machine's Go to builds.
type containerEngine struct {
	folder, bin string
	env         []string
}

// oneEngine is held by the test that has an engine: two would give their
// networks the same name.
var oneEngine sync.Mutex

const (
	// engineConf works in containers, too, where nobody may raise a limit.
	engineConf = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
volumes = [%[2]s]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "%[1]s/tmp"
[network]
network_backend = "netavark"
network_config_dir = "%[1]s/networks"
default_subnet = "10.253.7.0/24"
`
	engineStorage = `[storage]
driver = "vfs"
graphroot = "%[1]s/storage"
runroot = "%[1]s/run"
`
	// enginePodman is podman, but for what only builds are to see.
	enginePodman = `#!/bin/sh
case $1 in build) export CONTAINERS_CONF=%s ;; esac
exec %s "$@"
`
	// goImage stands in for the Go image, which no registry is needed for: a
	// shell and CA roots. The compiler and what it keeps are mounted.
	goImage = `FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY tmp /tmp
ENV GOPATH=/go GOCACHE=/root/.cache/go-build GOPROXY=off PATH=/usr/local/go/bin:/bin
`
)

// newEngine returns an engine that can build our image without a network, and
// that mounts volumes into every container: none, or such as `"/from:/to:ro"`.
func newEngine(t *testing.T, volumes string) *containerEngine {
	t.Helper()
	const hint = "install podman, runc, conmon, netavark, aardvark-dns, iptables and busybox-static"
	if os.Geteuid() != 0 {
		needs.Missing(t, "root", "run this test as root")
	}
	podman := needs.Program(t, "podman", hint)
	for _, name := range []string{"runc", "conmon", "iptables", "netavark", "aardvark-dns", "busybox"} {
		needs.Program(t, name, hint, "/usr/sbin", "/usr/lib/podman", "/usr/libexec/podman")
	}
	needs.Path(t, "/etc/ssl/certs/ca-certificates.crt", "install ca-certificates")
	oneEngine.Lock()
	t.Cleanup(oneEngine.Unlock)
	folder := t.TempDir()
	e := &containerEngine{folder: folder, bin: filepath.Join(folder, "bin")}
	conf := e.write(t, "containers.conf", fmt.Sprintf(engineConf, folder, volumes), 0o600)
	builds := e.write(t, "builds.conf", fmt.Sprintf(engineConf, folder, goVolumes(t)), 0o600)
	e.write(t, "bin/podman", fmt.Sprintf(enginePodman, builds, podman), 0o700)
	e.env = []string{
		"CONTAINERS_CONF=" + conf,
		"CONTAINERS_STORAGE_CONF=" + e.write(t, "storage.conf", fmt.Sprintf(engineStorage, folder), 0o600),
		"BUILDAH_ISOLATION=chroot",
		"DISABLE_HC_SYSTEMD=true", // the test asks for health itself
	}
	t.Cleanup(func() { e.remove(t) })
	e.buildGoImage(t)
	return e
}

// goVolumes are the compiler, the modules and what was compiled already.
func goVolumes(t *testing.T) string {
	t.Helper()
	output, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.Fields(string(output))
	return fmt.Sprintf(`"%s:/usr/local/go:ro", "%s:/go/pkg/mod:ro", "%s:/root/.cache/go-build"`, folders[0], folders[1], folders[2])
}

func (e *containerEngine) buildGoImage(t *testing.T) {
	t.Helper()
	for name, source := range map[string]string{
		"busybox": "/bin/busybox", "ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
	} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		e.write(t, "go/"+name, string(text), 0o755)
	}
	if err := os.Mkdir(filepath.Join(e.folder, "go/tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := e.write(t, "go/Containerfile", goImage, 0o600)
	if _, err := e.podman("build", "--tag=docker.io/library/golang:1.26.11", "--file="+file, filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
}

func (e *containerEngine) write(t *testing.T, name, text string, mode os.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(e.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// podman runs podman and returns what it prints.
func (e *containerEngine) podman(args ...string) (string, error) {
	command := e.command(args...)
	var talk strings.Builder
	command.Stderr = &talk
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("podman %s: %w\n%s%s", strings.Join(args, " "), err, output, talk.String())
	}
	return strings.TrimSpace(string(output)), nil
}

func (e *containerEngine) command(args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(e.bin, "podman"), args...)
	command.Env = append(os.Environ(), e.env...) //nolint:forbidigo // for a program, with settings of its own
	return command
}

// remove stops and removes what there is, so that no process, mount or network
// stays behind.
func (e *containerEngine) remove(t *testing.T) {
	t.Helper()
	if t.Failed() {
		e.explain(t)
	}
	for _, args := range [][]string{
		{"rm", "--all", "--force", "--time=0", "--volumes"},
		{"network", "prune", "--force"},
		{"image", "unmount", "--all", "--force"},
	} {
		if _, err := e.podman(args...); err != nil {
			t.Error(err)
		}
	}
}

// explain shows what the containers have to say.
func (e *containerEngine) explain(t *testing.T) {
	t.Helper()
	names, err := e.podman("ps", "--all", "--format={{.Names}}")
	if err != nil {
		t.Error(err)
	}
	for name := range strings.FieldsSeq(names) {
		output, err := e.command("logs", "--tail=20", name).CombinedOutput()
		t.Logf("%s: %v\n%s", name, err, output)
	}
}
