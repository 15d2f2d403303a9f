//go:build unix

package revocations_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// TestPostgresRestart: through a crash of the server, nothing that was acknowledged
// is lost, and the log works again by itself as the same one.
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	dsn := server.DSN("customersession", newTable(t, server))
	log := openPostgres(t, dsn)
	before := readFrom(t, log, revocations.Position{}).Position
	acknowledged := appendAll(t, log, 20)
	store, code := openRedemptions(t, dsn), uuid.New()
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Redeemed)
	server.Stop(t)
	_, readErr := log.Read(t.Context(), before)
	_, appendErr := log.Append(t.Context(), session("away"))
	for _, err := range []error{readErr, appendErr} {
		if !errors.Is(err, revocations.ErrUnavailable) {
			t.Errorf("without a server the error is %v", err)
		}
	}
	if _, err := store.Redeem(t.Context(), redemptionOf(uuid.New(), "a")); !errors.Is(err, revocations.ErrUnavailable) {
		t.Errorf("without a server, redeeming says %v", err)
	}
	server.Start(t)
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Repeated)
	wantOutcome(t, store, redemptionOf(code, "b"), revocations.Used)
	page := readFrom(t, log, before)
	if page.Complete || page.Position.Log != before.Log || !slices.Equal(ids(page.Records), acknowledged) {
		t.Errorf("after %v comes %v, want %q", before, page, acknowledged)
	}
	appendTo(t, log, session("again"))
}

// appendAll appends some entries and returns their IDs.
func appendAll(t *testing.T, log revocations.Log, count int) (ids []string) {
	t.Helper()
	for i := range count {
		ids = append(ids, appendTo(t, log, session(strconv.Itoa(i))).ID)
	}
	return ids
}

// TestPostgresSlow: a call ends in its time, whatever the server does, and a slow
// append delays no read.
func TestPostgresSlow(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	schema := newTable(t, server)
	path := newProxy(t, server.Port)
	dsn := strings.Replace(server.DSN("customersession", schema), strconv.Itoa(server.Port), strconv.Itoa(path.port), 1)
	log, err := revocations.NewPostgres(t.Context(), revocations.PostgresConfig{DSN: secret.Text(dsn), Timeout: 800 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	appendTo(t, log, session("a"))
	before := readFrom(t, log, revocations.Position{})

	begun, release := slowly(t, server, schema)
	slow := make(chan error)
	go func() {
		for range 3 { // more than there are connections
			_, err := log.Append(t.Context(), session("slow"))
			slow <- err
		}
	}()
	begun()
	for range 3 {
		readFrom(t, log, before.Position)
		if err := <-slow; !errors.Is(err, revocations.ErrUnavailable) {
			t.Errorf("the error of a slow append is %v", err)
		}
	}
	// What was given up does not go on waiting in the server.
	watch := server.Connect(t, schema)
	defer watch.Close(t.Context())
	eventually(t, "the server has no append left", func() bool {
		return count(t, watch, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0
	})
	release()

	// Behind an append that does not end, another one ends in its time.
	holder := server.Connect(t, schema)
	if _, err := holder.Exec(t.Context(), "BEGIN; "+revocations.LockSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), session("behind")); !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "55P03") {
		t.Errorf("behind a slow append the error is %v", err)
	}
	readFrom(t, log, before.Position)
	holder.Close(t.Context())

	store, err := revocations.NewPostgresRedemptions(t.Context(), revocations.PostgresConfig{DSN: secret.Text(dsn), Timeout: 800 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	code := uuid.New()
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Redeemed)
	path.stall()
	start := time.Now()
	if _, err := store.Redeem(t.Context(), redemptionOf(code, "a")); !errors.Is(err, revocations.ErrUnavailable) {
		t.Errorf("without an answer, redeeming says %v", err)
	}
	_, readErr := log.Read(t.Context(), before.Position)
	_, appendErr := log.Append(t.Context(), session("stalled"))
	for _, err := range []error{readErr, appendErr} {
		if !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("without an answer the error is %v", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("three calls of 800 ms took %v", took)
	}
	path.heal()
	eventually(t, "the log answers again", func() bool {
		_, err := log.Read(t.Context(), before.Position)
		return err == nil
	})
	appendTo(t, log, session("b"))
	path.cut() // connections that end between two calls are replaced
	if page := readFrom(t, log, before.Position); page.Complete || !slices.Contains(ids(page.Records), "b") {
		t.Errorf("after %v comes %v", before.Position, page)
	}
	appendTo(t, log, session("c"))
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Repeated)
}

// TestPostgresGone: a client that vanishes in the middle of an append does not keep
// others from appending.
func TestPostgresGone(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	schema := newTable(t, server)
	path := newProxy(t, server.Port)
	dsn := strings.Replace(server.DSN("customersession", schema), strconv.Itoa(server.Port), strconv.Itoa(path.port), 1)
	gone := openPostgres(t, dsn)
	appendTo(t, gone, session("a"))
	path.deafen() // the server hears it, but its answers are lost
	ctx, cancel := context.WithCancel(t.Context())
	var appending sync.WaitGroup
	appending.Go(func() {
		if _, err := gone.Append(ctx, session("gone")); err == nil {
			t.Error("it was acknowledged")
		}
	})
	other := openPostgres(t, server.DSN("customersession", schema))
	eventually(t, "the entry is in the log", func() bool {
		return slices.Contains(ids(readFrom(t, other, revocations.Position{}).Records), "gone")
	})
	appendTo(t, other, session("b"))
	cancel()
	appending.Wait()
}

// A proxy is a path to a server that can fail.
type proxy struct {
	port int

	mu          sync.Mutex
	stalled     chan struct{} // closed when bytes flow
	deaf        bool
	connections []net.Conn
}

func newProxy(t *testing.T, to int) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: listener.Addr().(*net.TCPAddr).Port}
	p.heal()
	t.Cleanup(func() {
		_ = listener.Close()
		p.heal()
		p.cut()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(to)))
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.connections = append(p.connections, client, server)
			p.mu.Unlock()
			go p.copy(server, client, false)
			go p.copy(client, server, true)
		}
	}()
	return p
}

func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		flows, deaf := p.stalled, p.deaf && answers
		p.mu.Unlock()
		<-flows
		if deaf {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// stall lets no byte through until it heals.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
	select {
	case <-p.stalled:
	default:
		close(p.stalled)
	}
}

// deafen loses the server's answers.
func (p *proxy) deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, connection := range p.connections {
		_ = connection.Close()
	}
	p.connections = nil
}

// TestPostgresConnections: when the server has no connection left, calls fail in
// time and say so. Later they work again.
func TestPostgresConnections(t *testing.T) {
	t.Parallel()
	server := newServer(t, "max_connections=5", "superuser_reserved_connections=1", "max_wal_senders=0")
	schema := newTable(t, server)
	log := openPostgres(t, server.DSN("customersession", schema))
	taken := 0
	var free []func()
	for ; taken < 10; taken++ {
		other := openPostgres(t, server.DSN("customersession", schema))
		if _, err := other.Read(t.Context(), revocations.Position{}); err != nil {
			other.Close()
			break
		}
		free = append(free, other.Close)
	}
	_, readErr := log.Read(t.Context(), revocations.Position{})
	_, appendErr := log.Append(t.Context(), session("a"))
	for _, err := range []error{readErr, appendErr} {
		if !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "too many connections") {
			t.Errorf("with %d connections taken the error is %v", taken, err)
		}
	}
	for _, end := range free {
		end()
	}
	eventually(t, "the log works again", func() bool {
		_, err := log.Append(t.Context(), session("a"))
		return err == nil
	})
}

// TestPostgresBouncer: the log works through pgbouncer in transaction mode, also
// when that has one connection for all.
func TestPostgresBouncer(t *testing.T) {
	t.Parallel()
	program := needs.Program(t, "pgbouncer", "install Debian's pgbouncer", "/usr/sbin")
	server := newServer(t)
	conform(t, func(t *testing.T) func() revocations.Log {
		t.Helper()
		schema := newTable(t, server)
		server.Exec(t, schema, "CREATE ROLE "+schema+"user LOGIN IN ROLE customersession; ALTER ROLE "+schema+"user SET search_path = "+schema)
		port := startBouncer(t, program, server, schema+"user")
		dsn := fmt.Sprintf("postgres://anybody@127.0.0.1:%d/postgres?sslmode=disable", port)
		wantOutcome(t, openRedemptions(t, dsn), redemptionOf(uuid.New(), "a"), revocations.Redeemed)
		return func() revocations.Log { return openPostgres(t, dsn) }
	})
}

func startBouncer(t *testing.T, program string, server *postgres.Server, user string) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	dir, err := os.MkdirTemp("", "bouncer-") //nolint:usetesting // TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(config, fmt.Appendf(nil, `[databases]
postgres = host=127.0.0.1 port=%d dbname=postgres user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
auth_file =
pool_mode = transaction
default_pool_size = 1
`, server.Port, user, port), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := server.Command(t, program, config)
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "pgbouncer listens", func() bool {
		connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = connection.Close()
		}
		return err == nil
	})
	return port
}

// TestPostgresSynchronous: a failover to a synchronous standby loses nothing that
// was acknowledged, and clients follow it by themselves, to another incarnation.
func TestPostgresSynchronous(t *testing.T) {
	t.Parallel()
	primary, standby := newPair(t)
	schema := newTable(t, primary)
	watch := primary.Connect(t, schema)
	synchronize(t, watch)
	eventually(t, "the standby is synchronous", func() bool {
		return count(t, watch, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'") == 1
	})
	log := openPostgres(t, either(primary, standby, schema))
	checkReplication(t, log, "synchronous")
	refuseStandby(t, openPostgres(t, standby.DSN("customersession", schema)))
	before := readFrom(t, log, revocations.Position{})

	crash, promoted := make(chan struct{}), make(chan struct{})
	var acknowledged []string
	portal := redeemer{store: openRedemptions(t, either(primary, standby, schema))}
	var appending sync.WaitGroup
	appending.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-promoted:
				return
			default:
			}
			id := strconv.Itoa(i)
			if _, err := log.Append(t.Context(), session(id)); err == nil {
				acknowledged = append(acknowledged, id)
			}
			portal.next(t)
			if i == 50 {
				close(crash)
			}
		}
	})
	<-crash
	primary.Stop(t)
	standby.Promote(t)
	close(promoted)
	appending.Wait()
	if _, err := log.Append(t.Context(), session("after")); err != nil {
		t.Errorf("after the failover: %v", err)
	}
	page := readFrom(t, log, before.Position)
	if !page.Complete || page.Position.Log == before.Position.Log {
		t.Errorf("after the failover it is still %v", page.Position)
	}
	got := ids(page.Records)
	for _, id := range append(acknowledged, "after") {
		if !slices.Contains(got, id) {
			t.Errorf("%q was acknowledged, and is lost", id)
		}
	}
	t.Logf("%d entries were acknowledged", len(acknowledged))
	portal.wantAll(t)
}

// TestPostgresAsynchronous: a failover to a standby that lacks commits is another
// incarnation, and the status had said that commits may be lost.
func TestPostgresAsynchronous(t *testing.T) {
	t.Parallel()
	primary, standby := newPair(t)
	schema := newTable(t, primary)
	log := openPostgres(t, either(primary, standby, schema))
	appendTo(t, log, session("kept"))
	checkReplication(t, log, "asynchronous: commits may be lost in a failover")
	watch := standby.Connect(t, "public")
	eventually(t, "the standby has the entry", func() bool {
		return count(t, watch, "SELECT count(*) FROM pg_tables WHERE schemaname = '"+schema+"'") == 2 &&
			count(t, watch, "SELECT count(*) FROM "+schema+".customersession_revocations") == 2
	})
	standby.Stop(t)
	appendTo(t, log, session("lost"))
	before := readFrom(t, log, revocations.Position{})
	primary.Stop(t)
	standby.Start(t)
	standby.Promote(t)
	page := readFrom(t, log, before.Position)
	if !page.Complete || page.Position.Log == before.Position.Log || !slices.Equal(ids(page.Records), []string{"kept"}) {
		t.Errorf("after the failover it is %v, was %v", page, before)
	}
	checkReplication(t, log, "none")
	appendTo(t, log, session("after"))
}

// TestPostgresCluster: a table that was copied to another cluster, row for row, is
// another incarnation.
func TestPostgresCluster(t *testing.T) {
	t.Parallel()
	var places []string
	logs := map[string]bool{}
	for range 2 {
		server := newServer(t)
		schema := "log"
		server.Exec(t, schema, "GRANT USAGE ON SCHEMA log TO customersession;"+revocations.PostgresSchema+revocations.PostgresGrants+
			"UPDATE customersession_revocations SET id = 'copied' WHERE scope = 'log'")
		connection := server.Connect(t, schema)
		places = append(places, strconv.Itoa(count(t, connection, "SELECT pg_relation_filenode('customersession_revocations')::int")))
		connection.Close(t.Context())
		logs[readFrom(t, openPostgres(t, server.DSN("customersession", schema)), revocations.Position{}).Position.Log] = true
	}
	if places[0] != places[1] {
		t.Fatalf("the tables are in the files %q; the test needs the same one", places)
	}
	if len(logs) != 2 {
		t.Errorf("both clusters have the incarnation %v", logs)
	}
}

// TestPostgresCancelled: when somebody ends the wait for a synchronous standby, the
// entry is not acknowledged: PostgreSQL only warns.
func TestPostgresCancelled(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	schema := newTable(t, server)
	watch := server.Connect(t, schema)
	synchronize(t, watch)
	log := openPostgres(t, server.DSN("customersession", schema))
	appended := make(chan error)
	go func() { _, err := log.Append(t.Context(), session("alone")); appended <- err }()
	cancelWait(t, watch)
	if err := <-appended; !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "may not be on the standby") {
		t.Errorf("the error is %v", err)
	}
	redeemCancelled(t, server, schema, watch)
}

// synchronize makes commits wait for a standby from now on.
func synchronize(t *testing.T, connection *pgx.Conn) {
	t.Helper()
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if _, err := connection.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the setting is in force", func() bool {
		return count(t, connection, "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = '*'") == 1
	})
}

// newPair runs a primary and a standby of it.
func newPair(t *testing.T) (primary, standby *postgres.Server) {
	t.Helper()
	primary = newServer(t)
	standby = primary.Standby(t)
	standby.Start(t)
	watch := primary.Connect(t, "public")
	defer watch.Close(t.Context())
	eventually(t, "the standby follows", func() bool {
		return count(t, watch, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1
	})
	return primary, standby
}

// either is the documented connection string that follows a failover.
func either(a, b *postgres.Server, schema string) string {
	return strings.Replace(a.DSN("customersession", schema), strconv.Itoa(a.Port), fmt.Sprintf("%d,127.0.0.1:%d", a.Port, b.Port), 1) +
		"&target_session_attrs=read-write"
}

func checkReplication(t *testing.T, log revocations.Log, want string) {
	t.Helper()
	status, err := revocations.ReadStatus(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	if status.Replication != want {
		t.Errorf("the replication is %q, want %q", status.Replication, want)
	}
}

func refuseStandby(t *testing.T, log revocations.Log) {
	t.Helper()
	_, readErr := log.Read(t.Context(), revocations.Position{})
	_, appendErr := log.Append(t.Context(), session("a"))
	for _, err := range []error{readErr, appendErr} {
		if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), "is a standby") {
			t.Errorf("the error of a standby is %v", err)
		}
	}
}
