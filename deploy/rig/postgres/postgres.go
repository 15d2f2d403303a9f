//go:build unix

// Package postgres runs PostgreSQL servers of tests, on loopback.
package postgres

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
)

const (
	hint   = "install Debian's postgresql"
	folder = "/usr/lib/postgresql/*/bin"
)

// Server is a PostgreSQL server, on a port of its own.
type Server struct {
	Port int

	dir        string
	settings   []string
	credential *syscall.Credential
	process    *exec.Cmd
	output     chan string // all of it, once the process has ended
}

// New makes a database cluster, which trusts all who connect, without starting it.
// The server refuses to run as root; a root then runs it as the user that the
// package made.
func New(t testing.TB) *Server {
	t.Helper()
	s := place(t)
	s.run(t, "initdb", "--pgdata="+s.dir, "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
	return s
}

// place makes room for a cluster.
func place(t testing.TB) *Server {
	t.Helper()
	s := &Server{Port: freePort(t)}
	parent, err := os.MkdirTemp("", "rig-postgres-") //nolint:usetesting // TempDir is closed to other users
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
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it only finds a port
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("it has no port")
	}
	return address.Port
}

func credentialOf(t testing.TB, name string) *syscall.Credential {
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

// Command is a program of PostgreSQL, or another one by its path, as the right user. It must outlive t's
// context: cleanups run after that, and stop the server properly.
func (s *Server) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(needs.Program(t, name, hint, folder), args...) //nolint:gosec,noctx // see above
	cmd.Dir = filepath.Dir(s.dir)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	return cmd
}

func (s *Server) run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := s.Command(t, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Start runs the server until it accepts connections. The settings, such as
// "max_connections=10", are those of this and of later starts.
func (s *Server) Start(t testing.TB, settings ...string) {
	t.Helper()
	s.settings = append(s.settings, settings...)
	args := []string{"-D", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port)}
	for _, setting := range append([]string{
		"unix_socket_directories=", "fsync=off", "shared_buffers=16MB", "max_connections=40", "logging_collector=off", "wal_retrieve_retry_interval=100ms",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	s.process = s.Command(t, "postgres", args...)
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
			// "… to accept connections", or "… read-only connections".
			if strings.Contains(lines.Text(), "database system is ready to accept") {
				select {
				case ready <- true:
				default:
				}
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

// DemandPassword makes the server, which starts later, ask a user for a password.
func (s *Server) DemandPassword(t testing.TB, user string) {
	t.Helper()
	path := filepath.Join(s.dir, "pg_hba.conf")
	rules, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rules = append([]byte("host all "+user+" 127.0.0.1/32 scram-sha-256\n"), rules...)
	if err := os.WriteFile(path, rules, 0o600); err != nil { //nolint:gosec // a folder of our own
		t.Fatal(err)
	}
}

// Stop ends the server at once, as a crash of the program would. It does nothing
// if the server does not run.
func (s *Server) Stop(t testing.TB) {
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

// Standby makes a standby of the running server, without starting it.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	standby := place(t)
	standby.run(t, "pg_basebackup", "--pgdata="+standby.dir, "--write-recovery-conf", "--no-sync", "--checkpoint=fast",
		"--host=127.0.0.1", "--port="+strconv.Itoa(s.Port), "--username=postgres")
	return standby
}

// Promote makes a standby the primary.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.run(t, "pg_ctl", "promote", "-w", "-D", s.dir)
}

// DSN connects a user to the server. The search path makes a schema look like a
// database of its own.
func (s *Server) DSN(user, schema string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable&search_path=%s", user, s.Port, schema)
}

// Exec runs statements as the owner of all, in a schema, which it makes if need be.
func (s *Server) Exec(t testing.TB, schema, statements string) {
	t.Helper()
	connection := s.Connect(t, schema)
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), "CREATE SCHEMA IF NOT EXISTS "+schema+";"+statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// Connect connects as the owner of all.
func (s *Server) Connect(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), s.DSN("postgres", schema))
	if err != nil {
		t.Fatal(err)
	}
	return connection
}
