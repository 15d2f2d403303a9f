//go:build unix

package customers_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// password is in every connection string and must be in no error.
const password = "do-not-echo"

// postgres is a PostgreSQL server of the tests, on a port of loopback.
type postgres struct {
	program    string
	dir        string
	port       int
	credential *syscall.Credential
	process    *exec.Cmd
	output     chan string // all of it, once the process has ended
}

// newPostgres makes a database cluster without starting it. The server refuses
// to run as root; a root then runs it as the user that the package made.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	const hint, folder = "install Debian's postgresql", "/usr/lib/postgresql/*/bin"
	initdb := needs.Program(t, "initdb", hint, folder)
	s := &postgres{program: needs.Program(t, "postgres", hint, folder), port: freePort(t)}

	parent, err := os.MkdirTemp("", "customers-postgres-") //nolint:usetesting // TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 {
		s.credential = credentialOf(t, "postgres")
		if err := os.Chown(parent, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.dir = filepath.Join(parent, "data")
	cmd := s.command(t, initdb, "--pgdata="+s.dir, "--username=postgres", "--auth=trust",
		"--no-sync", "--encoding=UTF8", "--locale=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// demandPassword makes the server, which starts later, ask a user for a password.
func (s *postgres) demandPassword(t *testing.T, user string) {
	t.Helper()
	path := filepath.Join(s.dir, "pg_hba.conf")
	rules, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rules = append([]byte("host all "+user+" 127.0.0.1/32 scram-sha-256\n"), rules...)
	if err := os.WriteFile(path, rules, 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func credentialOf(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		t.Fatal(uidErr, gidErr)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// command is a command in the cluster's folder, as the right user. It must
// outlive t's context: cleanups run after that, and stop the server properly.
func (s *postgres) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Dir(s.dir)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	return cmd
}

// start runs the server until it accepts connections.
func (s *postgres) start(t *testing.T) {
	t.Helper()
	s.process = s.command(t, s.program, "-D", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB",
		"-c", "max_connections=30", "-c", "logging_collector=off")
	stderr, err := s.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	s.output = make(chan string, 1)
	go func() {
		var all strings.Builder
		lines := bufio.NewScanner(io.TeeReader(stderr, &all))
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
			}
		}
		close(ready)
		s.output <- all.String()
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("postgres ended:\n%s", <-s.output)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("postgres is not ready after 30 s")
	}
}

// stop ends the server at once, as a crash of its machine would.
func (s *postgres) stop(t *testing.T) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Error(err)
	}
	output := <-s.output
	_ = s.process.Wait() // says that the server was ended by force, as it was
	s.process = nil
	if t.Failed() {
		t.Logf("postgres said:\n%s", output)
	}
}

// dsn connects to the server; the search path makes a schema look like a
// database of its own.
func (s *postgres) dsn(schema string) string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable&search_path=%s",
		password, s.port, schema)
}

// exec runs statements in a schema, which it makes if need be.
func (s *postgres) exec(t *testing.T, schema, statements string) {
	t.Helper()
	connection := s.connect(t, schema)
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), "CREATE SCHEMA IF NOT EXISTS "+schema+";"+statements); err != nil {
		t.Fatal(err)
	}
}

func (s *postgres) connect(t *testing.T, schema string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), s.dsn(schema))
	if err != nil {
		t.Fatal(err)
	}
	return connection
}

// directory is a Postgres on a schema of the server.
func (s *postgres) directory(t *testing.T, schema string, config customers.PostgresConfig) *customers.Postgres {
	t.Helper()
	if config.DSN == "" {
		config.DSN = secret.Text(s.dsn(schema))
	}
	p, err := customers.NewPostgres(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
