//go:build unix

package customers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// table makes the table that the default queries expect, with the population
// in it. Types of columns are those of id, text and the like.
func table(id, text, time, list string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `CREATE TABLE customers (
		id %[1]s NOT NULL, organization_id %[1]s NOT NULL, created_at %[3]s NOT NULL, modified_at %[3]s,
		metadata jsonb, external_id %[2]s, email %[2]s, email_verified boolean, type %[2]s, name %[2]s,
		billing_name %[2]s, billing_address jsonb, tax_id %[4]s, locale %[2]s, default_payment_method_id %[1]s,
		deleted_at %[3]s, first_user_event_at %[3]s, avatar_url %[2]s, password_hash bytea DEFAULT 'x',
		PRIMARY KEY (organization_id, id), UNIQUE (organization_id, external_id));
		CREATE TABLE members (customer_id %[1]s, organization_id %[1]s, id %[1]s, external_id %[2]s, email %[2]s, name %[2]s,
		role %[2]s, deleted_at %[3]s);`, id, text, time, list)
	for line := range bytes.Lines(population()) {
		fmt.Fprintf(&b, `INSERT INTO customers (id, organization_id, created_at, external_id, email,
			email_verified, name, deleted_at, metadata, billing_address, tax_id)
			SELECT id, organization_id, created_at, external_id, email,
			email_verified, name, deleted_at, metadata, billing_address, tax_id
			FROM json_populate_record(NULL::customers, '%[1]s');
			INSERT INTO members (customer_id, organization_id, id, external_id, email, name, role, deleted_at)
			SELECT c.id, c.organization_id, m.id, m.external_id, m.email, m.name, m.role, m.deleted_at
			FROM json_populate_record(NULL::customers, '%[1]s') c, json_populate_recordset(NULL::members, '%[1]s'::json->'members') m;`,
			bytes.TrimSpace(line))
	}
	return b.String()
}

// membersQuery finds the members of a customer in the table.
const membersQuery = "SELECT * FROM members WHERE organization_id = $1 AND customer_id = $2; "

var ordinary = table("uuid", "text", "timestamptz", "text[]")

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	server.DemandPassword(t, "guarded")
	server.Start(t)

	t.Run("types", func(t *testing.T) {
		tests := []struct{ name, table string }{
			{"ordinary", ordinary},
			{"texts", table("text", "varchar(100)", "timestamp", "jsonb")},
			{"clock", "SET timezone='America/St_Johns'; ALTER ROLE postgres SET timezone='Asia/Kathmandu';" + ordinary},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				schema := "types_" + test.name
				server.Exec(t, schema, test.table)
				testDirectory(t, server.directory(t, schema, customers.PostgresConfig{Members: membersQuery}))
			})
		}
	})
	t.Run("own queries", testOwnQueries(server))
	t.Run("bad answers", testBadAnswers(server))
	t.Run("infinite times", testInfiniteTimes(server))
	t.Run("odd IDs", testOddIDs(server))
	t.Run("own words", testOwnWords(server))
	t.Run("check", testCheck(server))
	t.Run("organizations", testOrganizations(server))
	t.Run("changing schema", testChangingSchema(server))
	t.Run("locked", testLocked(server))
	t.Run("slow", testSlow(server))
}

func testOwnQueries(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "own", `CREATE TABLE account (uid uuid, mail text);
		INSERT INTO account VALUES ('`+ada.String()+`', 'ada@example.com')`)
		p := server.directory(t, "own", customers.PostgresConfig{
			ByID:         `SELECT uid AS id, mail AS email, 7 AS unknown, $1::text AS also FROM account WHERE uid = $2 -- comment`,
			ByExternalID: "WITH a AS (SELECT * FROM account WHERE mail = $2)\nSELECT uid AS id, mail AS email, mail AS external_id FROM a WHERE $1 <> '';\n",
		})
		c := find(t.Context(), t, p, adaByID)
		if c.OrganizationID != home || c.EmailVerified || c.ExternalID != nil || time.Since(c.CreatedAt) > time.Minute ||
			c.Type != customers.Individual || string(c.Metadata) != "{}" || c.AvatarURL == "" {
			t.Errorf("missing columns do not get their defaults: %s", c.AppendJSON(nil))
		}
		c = find(t.Context(), t, p, customers.Query{OrganizationID: home, ExternalID: "ada@example.com"})
		if c.ID != ada {
			t.Errorf("found %s, want %s", c.ID, ada)
		}
	}
}

func testBadAnswers(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "bad", "")
		tests := []struct{ name, query string }{
			{"two rows", "SELECT $2 AS id, 'a@b' AS email, $1 AS organization_id UNION ALL SELECT $2, 'b@b', $1"},
			{"no e-mail", "SELECT $2 AS id, $1 AS organization_id"},
			{"a column twice", "SELECT $2 AS id, 'a@b' AS email, 'b@b' AS email, $1 AS organization_id"},
			{"nested metadata", `SELECT $2 AS id, 'a@b' AS email, '{"a":{}}'::jsonb AS metadata, $1 AS organization_id`},
			{"ancient time", "SELECT $2 AS id, 'a@b' AS email, '0044-03-15 BC'::timestamptz AS created_at, $1 AS organization_id"},
			{"no table", "SELECT * FROM missing WHERE a = $1 AND b = $2"},
			{"no SQL", "SELEKT $1, $2"},
			{"no arguments", "SELECT 1 AS id"},
			{"two statements", "SELECT $1, $2; DROP TABLE customers"},
			{"a change", "DELETE FROM customers WHERE a = $1 AND b = $2 RETURNING *"},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				p := server.directory(t, "bad", customers.PostgresConfig{ByID: test.query})
				for range 10 { // the database answers, so it is never left alone
					_, err := p.Find(t.Context(), adaByID)
					unavailable(t, err)
					if strings.Contains(err.Error(), "repeatedly") {
						t.Errorf("error is %v, want the database's", err)
					}
				}
			})
		}
	}
}

// unavailable checks that err is ErrUnavailable, repeats no secret, and does not
// look like the caller's mistake.
func unavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, customers.ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
		return
	}
	if _, ok := errors.AsType[*customers.ValidationError](err); ok || strings.Contains(err.Error(), password) {
		t.Errorf("error %v blames the caller or shows the password", err)
	}
}

// testChangingSchema changes the table under SELECT *, which breaks prepared
// statements.
func testChangingSchema(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "changing", ordinary)
		p := server.directory(t, "changing", customers.PostgresConfig{Timeout: 10 * time.Second})
		var calls atomic.Int64
		stop := make(chan struct{})
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := p.Find(t.Context(), adaByID); err != nil {
						t.Errorf("error is %v", err)
						return
					}
					calls.Add(1)
				}
			})
		}
		for i, change := range []string{
			"ADD COLUMN nickname text", "DROP COLUMN nickname", "ALTER COLUMN name TYPE varchar(80)",
			"DROP COLUMN locale", "ADD COLUMN locale text DEFAULT 'en'", "ALTER COLUMN id TYPE text",
		} {
			server.Exec(t, "changing", "ALTER TABLE customers "+change)
			for before := calls.Load(); calls.Load() < before+20 && !t.Failed(); {
				runtime.Gosched()
			}
			t.Logf("after change %d: %d calls", i+1, calls.Load())
		}
		close(stop)
		callers.Wait()
		if c := find(t.Context(), t, p, adaByID); c.Locale == nil || *c.Locale != "en" {
			t.Errorf("the new column is not seen: %s", c.AppendJSON(nil))
		}
	}
}

// testLocked holds a lock on the table: callers wait for the timeout, not for
// the lock, and nothing stays behind in the server.
func testLocked(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "locked", ordinary)
		p := server.directory(t, "locked", customers.PostgresConfig{Timeout: 300 * time.Millisecond})
		find(t.Context(), t, p, adaByID)

		connection := server.Connect(t, "locked")
		defer connection.Close(t.Context())
		run := func(statement string) {
			t.Helper()
			if _, err := connection.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		run("BEGIN; LOCK TABLE customers")
		bounded(t, p, 300*time.Millisecond)
		waiting := func() bool {
			var n int
			if err := connection.QueryRow(t.Context(),
				"SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n > 0
		}
		eventually(t, "the server forgets the query", func() bool { return !waiting() })
		run("ROLLBACK")
		eventually(t, "it is healthy", func() bool { return healthy(t, p) })
	}
}

// testSlow has more callers than connections, all of them waiting for a slow
// query. The first ones wait for the timeout, later ones are turned away.
func testSlow(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "slow", ordinary+"CREATE SEQUENCE calls; CREATE TABLE speed AS SELECT 60.0 AS seconds")
		p := server.directory(t, "slow", customers.PostgresConfig{
			DSN:     secret.Text(server.dsn("slow") + "&pool_max_conns=3"),
			Timeout: 300 * time.Millisecond,
			ByID: "SELECT c.* FROM customers c, speed, pg_sleep(seconds) " +
				"WHERE organization_id = $1 AND id = $2",
		})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { bounded(t, p, 300*time.Millisecond) })
		}
		callers.Wait()
		server.Exec(t, "slow", "UPDATE speed SET seconds = 0")
		eventually(t, "it is healthy", func() bool { return healthy(t, p) })

		connection := server.Connect(t, "slow")
		defer connection.Close(t.Context())
		eventually(t, "no more connections than allowed are left", func() bool {
			var n int
			if err := connection.QueryRow(t.Context(),
				"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(seconds)%' AND pid <> pg_backend_pid()").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n <= 3
		})
	}
}

// bounded checks that a call fails in about the timeout.
func bounded(t *testing.T, p *customers.Postgres, timeout time.Duration) {
	t.Helper()
	start := time.Now()
	_, err := p.Find(t.Context(), adaByID)
	unavailable(t, err)
	// Much more than the timeout, since machines of tests can be busy, and
	// much less than what is waited for.
	if took := time.Since(start); took > timeout+5*time.Second {
		t.Errorf("took %v with a timeout of %v", took, timeout)
	}
}

func healthy(t *testing.T, p *customers.Postgres) bool {
	t.Helper()
	_, err := p.Find(t.Context(), adaByID)
	if err != nil {
		unavailable(t, err)
	}
	return err == nil
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// TestPostgresRestart begins without a database, and restarts it under load:
// every failure is ErrUnavailable and comes in bounded time, and service comes
// back by itself.
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	server := newDatabase(t)
	p := server.directory(t, "restart", customers.PostgresConfig{Timeout: timeout})
	for range 10 {
		bounded(t, p, timeout)
	}
	server.Start(t)
	server.Exec(t, "restart", ordinary)
	eventually(t, "it is healthy after the start", func() bool { return healthy(t, p) })

	var found, failed atomic.Int64
	var slowest peak
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for tick := time.NewTicker(time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				start := time.Now()
				if healthy(t, p) {
					found.Add(1)
				} else {
					failed.Add(1)
				}
				slowest.add(int64(time.Since(start)))
			}
		})
	}
	for range 2 {
		more(t, &found)
		server.Stop(t)
		more(t, &failed)
		server.Start(t)
		more(t, &found)
	}
	close(stop)
	callers.Wait()
	t.Logf("%d found, %d failed, slowest %v", found.Load(), failed.Load(), time.Duration(slowest.value()))
	if slow := time.Duration(slowest.value()); slow > timeout+5*time.Second {
		t.Errorf("a call took %v with a timeout of %v", slow, timeout)
	}
}

// more waits until a counter has grown by fifty.
func more(t *testing.T, counter *atomic.Int64) {
	t.Helper()
	before := counter.Load()
	eventually(t, "fifty more calls have ended so", func() bool { return counter.Load() >= before+50 })
}

// TestPostgresSilent talks to something that accepts connections and never
// says a word. It needs no PostgreSQL.
func TestPostgresSilent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	const timeout = 100 * time.Millisecond
	p, err := customers.NewPostgres(t.Context(), customers.PostgresConfig{
		DSN:     secret.Text("postgres://user:" + password + "@" + listener.Addr().String() + "/db?sslmode=disable"),
		Timeout: timeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() { bounded(t, p, timeout) })
	}
	callers.Wait()
	for range 5 { // more than five have asked it by then
		bounded(t, p, timeout)
	}
	_, err = p.Find(t.Context(), adaByID)
	if unavailable(t, err); !strings.Contains(err.Error(), "repeatedly") {
		t.Errorf("error is %v; a dead database should be left alone", err)
	}
	closed := make(chan struct{})
	go func() {
		p.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("Close does not end")
	}
}

func TestNewPostgresRefuses(t *testing.T) {
	t.Parallel()
	for _, dsn := range []secret.Text{
		"", "postgres://user:" + password + "@host:port/db", "host=a password=" + password + " =", password,
		"postgres://user:" + password + "@host/db?sslmode=" + password,
	} {
		p, err := customers.NewPostgres(t.Context(), customers.PostgresConfig{DSN: dsn})
		if err == nil || p != nil || strings.Contains(err.Error(), password) {
			t.Errorf("NewPostgres = %v, %v, want an error without the password", p, err)
		}
	}
	if _, err := customers.NewPostgres(t.Context(), customers.PostgresConfig{DSN: "host=localhost", Timeout: -1}); err == nil {
		t.Error("a negative timeout is accepted")
	}
}
