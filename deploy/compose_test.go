package deploy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// TestCompose does what the page of the compose file says, word for word, with
// images that stand in for those of others: see testdata/compose.
func TestCompose(t *testing.T) {
	t.Parallel()
	needs.Time(t, "half a minute")
	needs.Program(t, "podman-compose", "install podman-compose")
	needs.Program(t, "openssl", "install openssl")
	needs.Program(t, "curl", "install curl")
	needs.Program(t, "postgres", "install postgresql", "/usr/lib/postgresql/*/bin")
	needs.Program(t, "nginx", "install nginx-light", "/usr/sbin")
	needs.Path(t, "/usr/bin/prometheus", "install prometheus")
	e := newEngine(t, `"/usr:/usr:ro"`)
	e.buildStandIns(t)
	sessions, gateway, prometheus := freePort(t), freePort(t), freePort(t)
	e.env = append(e.env, "SESSIONS="+sessions, "GATEWAY="+gateway, "PROMETHEUS="+prometheus)
	e.typePage(t, "compose/README.md",
		"127.0.0.1:8443", sessions, "127.0.0.1:8444", gateway, "127.0.0.1:9091", prometheus)
}

func freePort(t *testing.T) (address string) {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// buildStandIns builds the images whose programs are those of this machine.
func (e *containerEngine) buildStandIns(t *testing.T) {
	t.Helper()
	root := e.standInRoot(t)
	for target, name := range map[string]string{
		"postgres": "library/postgres:17", "nginx": "library/nginx:1.28", "prometheus": "prom/prometheus:v3.5.0",
	} {
		_, err := e.podman("build", "--layers=false", "--target="+target, "--tag=docker.io/"+name,
			"--file=testdata/compose/Containerfile", root)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// standInRoot makes the files of the images: what programs expect outside of
// /usr.
func (e *containerEngine) standInRoot(t *testing.T) (folder string) {
	t.Helper()
	folder = filepath.Join(e.folder, "root")
	var problems []error
	for _, name := range []string{"etc", "usr", "tmp", "var/log/nginx", "var/lib/nginx", "var/lib/postgresql"} {
		problems = append(problems, os.MkdirAll(filepath.Join(folder, name), 0o755))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		problems = append(problems, os.Symlink("usr/"+name, filepath.Join(folder, name)))
	}
	problems = append(problems, os.Chmod(filepath.Join(folder, "tmp"), 0o777|os.ModeSticky))
	entrypoint, err := os.ReadFile("testdata/compose/postgres")
	if err := errors.Join(append(problems, err)...); err != nil {
		t.Fatal(err)
	}
	e.write(t, "root/postgres", string(entrypoint), 0o755)
	e.write(t, "root/etc/passwd", "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644)
	e.write(t, "root/etc/group", "root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n", 0o644)
	return folder
}
