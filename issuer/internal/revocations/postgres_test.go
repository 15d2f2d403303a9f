//go:build unix

package revocations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// TestPostgres holds the log in a table to the contract, as a role with the
// documented permissions and no others.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	conform(t, func(t *testing.T) func() revocations.Log {
		t.Helper()
		schema := newTable(t, server)
		return func() revocations.Log { return openPostgres(t, server.DSN("customersession", schema)) }
	})
	for name, test := range map[string]func(*testing.T, *postgres.Server){
		"commit order": testCommitOrder, "plain sequence": testPlainSequence,
		"not durable": testNotDurable, "dropping": testDropping, "init": testInit, "incarnation": testIncarnation,
		"words": testWords, "redemptions": testRedemptions, "redemptions refused": testRedemptionsRefused,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

// newServer runs a server with the role customersession, which may do nothing yet.
func newServer(t testing.TB, settings ...string) *postgres.Server {
	t.Helper()
	server := postgres.New(t)
	server.Start(t, settings...)
	server.Exec(t, "public", "CREATE ROLE customersession LOGIN")
	return server
}

var schemas atomic.Int64

// newTable makes a log in a schema of its own, and returns its name.
func newTable(t testing.TB, server *postgres.Server) string {
	t.Helper()
	schema := fmt.Sprintf("log%d", schemas.Add(1))
	server.Exec(t, schema, "GRANT USAGE ON SCHEMA "+schema+" TO customersession;"+
		revocations.PostgresSchema+revocations.PostgresGrants)
	return schema
}

func openPostgres(t testing.TB, dsn string) *revocations.Postgres {
	t.Helper()
	log, err := revocations.NewPostgres(t.Context(), revocations.PostgresConfig{DSN: secret.Text(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return log
}

// slowly makes the transaction that appends the ID "slow" wait, after it has its
// number, until the function that slowly returns is called.
func slowly(t *testing.T, server *postgres.Server, schema string) (begun func(), release func()) {
	t.Helper()
	server.Exec(t, schema, `
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock(hashtext(current_schema())); RETURN NULL; END $$;
		CREATE TRIGGER slow AFTER INSERT ON customersession_revocations
			FOR EACH ROW WHEN (NEW.id = 'slow') EXECUTE FUNCTION wait()`)
	holder := server.Connect(t, schema)
	if _, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock(hashtext(current_schema()))"); err != nil {
		t.Fatal(err)
	}
	begun = func() {
		t.Helper()
		eventually(t, "the slow append waits", func() bool {
			return count(t, holder, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
				AND objid = (hashtext(current_schema())::bigint & x'ffffffff'::bigint)::oid`) > 0
		})
	}
	return begun, func() { holder.Close(t.Context()) }
}

func count(t testing.TB, connection *pgx.Conn, query string) (n int) {
	t.Helper()
	if err := connection.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until something is so, outside our processes.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}

// race appends "slow" and then "fast", whose transaction could commit first, and
// reads in between. It returns what a reader has seen that goes on from there.
func race(t *testing.T, server *postgres.Server, prepare func(*revocations.Postgres)) []string {
	t.Helper()
	schema := newTable(t, server)
	begun, release := slowly(t, server, schema)
	a, b, reader := openPostgres(t, server.DSN("customersession", schema)),
		openPostgres(t, server.DSN("customersession", schema)), openPostgres(t, server.DSN("customersession", schema))
	prepare(a)
	prepare(b)
	errs := make(chan error, 2)
	fast := make(chan bool)
	go func() { _, err := a.Append(t.Context(), session("slow")); errs <- err }()
	begun()
	go func() { _, err := b.Append(t.Context(), session("fast")); errs <- err; close(fast) }()

	waiting := server.Connect(t, schema)
	defer waiting.Close(t.Context())
	eventually(t, "fast is committed, or waits for slow", func() bool {
		select {
		case <-fast:
			return true
		default:
			return count(t, waiting, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = x'63757374'::bigint::oid"+
				" AND objid = 'customersession_revocations'::regclass::oid") > 0
		}
	})
	between := readFrom(t, reader, revocations.Position{})
	release()
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	after := readFrom(t, reader, between.Position)
	return ids(append(between.Records, after.Records...))
}

// testCommitOrder: of two appends, the later one does not become visible first.
func testCommitOrder(t *testing.T, server *postgres.Server) {
	t.Helper()
	got := race(t, server, func(*revocations.Postgres) {})
	if !slices.Equal(got, []string{"slow", "fast"}) {
		t.Errorf("a reader has seen %q, want slow and fast", got)
	}
}

// testPlainSequence: without the lock, the same reader loses an entry. It shows that
// the test above tests something.
func testPlainSequence(t *testing.T, server *postgres.Server) {
	t.Helper()
	got := race(t, server, (*revocations.Postgres).WithoutLock)
	if !slices.Equal(got, []string{"fast"}) {
		t.Errorf("a reader has seen %q, want it to lose slow", got)
	}
}

func testNotDurable(t *testing.T, server *postgres.Server) {
	t.Helper()
	schema := newTable(t, server)
	log := openPostgres(t, server.DSN("customersession", schema)+"&options=-csynchronous_commit%3Doff")
	_, err := log.Append(t.Context(), session("lost"))
	if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("error is %v, want that it is refused", err)
	}
	if page := readFrom(t, log, revocations.Position{}); len(page.Records) != 0 {
		t.Errorf("the log has %v", page.Records)
	}
}

// dropStatement is the documented statement of the job that drops old entries.
func dropStatement(t *testing.T) string {
	t.Helper()
	var statement strings.Builder
	for line := range strings.Lines(revocations.PostgresGrants) {
		if sql, ok := strings.CutPrefix(line, "--   "); ok {
			statement.WriteString(sql)
		}
	}
	return statement.String()
}

// testDropping: the job drops what may be forgotten, but not what the log needs.
func testDropping(t *testing.T, server *postgres.Server) {
	t.Helper()
	schema := newTable(t, server)
	log := openPostgres(t, server.DSN("customersession", schema))
	before := readFrom(t, log, revocations.Position{}).Position
	for _, entry := range []revocations.Entry{dropped("a"), session("b"), dropped("c")} {
		appendTo(t, log, entry)
	}
	for _, version := range []string{"11", "9"} {
		entry := dropped(version)
		entry.Scope = revocations.Manifest
		appendTo(t, log, entry)
	}
	last := appendTo(t, log, dropped("d"))
	connection := server.Connect(t, schema)
	defer connection.Close(t.Context())
	for _, rows := range []int{4, 4} { // the name, b, 11 and the newest one
		if _, err := connection.Exec(t.Context(), dropStatement(t)); err != nil {
			t.Fatal(err)
		}
		if got := count(t, connection, "SELECT count(*) FROM customersession_revocations"); got != rows {
			t.Errorf("%d rows are left, want %d", got, rows)
		}
		page := readFrom(t, log, before)
		if got := ids(page.Records); !slices.Equal(got, []string{"b", "11"}) || page.Position.Log != before.Log || page.Position.Seq != last.Seq {
			t.Errorf("got %q at %v, want b and 11 at %d", got, page.Position, last.Seq)
		}
	}
	if _, err := openPostgres(t, server.DSN("customersession", schema)).Append(t.Context(), session("e")); err != nil {
		t.Error(err)
	}
	if next := appendTo(t, log, session("f")); next.Seq <= last.Seq {
		t.Errorf("the number %d follows %d", next.Seq, last.Seq)
	}
}

// testInit: the table is made once, and the log is of no use before.
func testInit(t *testing.T, server *postgres.Server) {
	t.Helper()
	server.Exec(t, "made", "GRANT ALL ON SCHEMA made TO customersession")
	config := revocations.PostgresConfig{DSN: secret.Text(server.DSN("customersession", "made"))}
	log := openPostgres(t, config.DSN.Reveal())
	_, readErr := log.Read(t.Context(), revocations.Position{})
	_, appendErr := log.Append(t.Context(), session("a"))
	for _, err := range []error{readErr, appendErr} {
		if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), "revocations init makes it") {
			t.Errorf("without a table the error is %v", err)
		}
	}
	var first revocations.Position
	for range 2 {
		if err := revocations.InitPostgres(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		page := readFrom(t, log, revocations.Position{})
		if first.Log != "" && page.Position != first {
			t.Errorf("the position is %v, was %v", page.Position, first)
		}
		first = page.Position
	}
	server.Exec(t, "made", "DELETE FROM customersession_revocations")
	if _, err := log.Read(t.Context(), revocations.Position{}); !errors.Is(err, revocations.ErrRefused) {
		t.Errorf("without a name the error is %v, want ErrRefused", err)
	}
}

// testIncarnation: whatever may lose or reorder entries is another log.
func testIncarnation(t *testing.T, server *postgres.Server) {
	t.Helper()
	for name, change := range map[string]string{
		"another table":   "DROP TABLE customersession_revocations;" + revocations.PostgresSchema + revocations.PostgresGrants,
		"the same, again": "CREATE TEMP TABLE backup AS TABLE customersession_revocations; TRUNCATE customersession_revocations; INSERT INTO customersession_revocations OVERRIDING SYSTEM VALUE TABLE backup",
		"renamed":         "UPDATE customersession_revocations SET id = gen_random_uuid() WHERE scope = 'log'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := newTable(t, server)
			log := openPostgres(t, server.DSN("customersession", schema))
			appendTo(t, log, session("a"))
			before := readFrom(t, log, revocations.Position{})
			if again := readFrom(t, log, before.Position); again.Complete {
				t.Errorf("unchanged, it is %v, was %v", again, before)
			}
			server.Exec(t, schema, change)
			if page := readFrom(t, log, before.Position); !page.Complete || page.Position.Log == before.Position.Log {
				t.Errorf("it is still %v", page)
			}
		})
	}
}

// testWords: errors say what to do, and repeat nothing that was sent.
func testWords(t *testing.T, server *postgres.Server) {
	t.Helper()
	schema := newTable(t, server)
	server.Exec(t, schema, "CREATE ROLE "+schema+"visitor LOGIN; GRANT USAGE ON SCHEMA "+schema+" TO "+schema+"visitor")
	server.Exec(t, "older", `CREATE TABLE customersession_revocations (seq bigint, scope text);
		GRANT USAGE ON SCHEMA older TO customersession; GRANT ALL ON customersession_revocations TO customersession`)
	for _, test := range []struct {
		dsn, want string
		kind      error
	}{
		{server.DSN(schema+"visitor", schema), "allowed to SELECT from customersession_revocations and to INSERT", revocations.ErrRefused},
		{server.DSN("nobody", schema), "may not connect from here", revocations.ErrRefused},
		{server.DSN("customersession", "older"), "not as this version needs it", revocations.ErrRefused},
		{strings.Replace(server.DSN("customersession", schema), "/postgres?", "/missing?", 1), "no such database", revocations.ErrRefused},
		{"postgres://a:do-not-echo@127.0.0.1:1/b", "connection refused", revocations.ErrUnavailable},
	} {
		log := openPostgres(t, test.dsn)
		_, readErr := log.Read(t.Context(), revocations.Position{})
		_, appendErr := log.Append(t.Context(), session("do-not-echo"))
		for _, err := range []error{readErr, appendErr} {
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "do-not-echo") {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		}
	}
	_, err := revocations.NewPostgres(t.Context(), revocations.PostgresConfig{DSN: "postgres://db.example.com/x?sslmode=require"})
	if err == nil || !strings.Contains(err.Error(), "CUSTOMERSESSION_REVOCATIONS_DSN_INSECURE") {
		t.Errorf("a connection without verified TLS: %v", err)
	}
}
