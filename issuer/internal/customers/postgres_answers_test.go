//go:build unix

package customers_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// testInfiniteTimes: an infinite time is no time, and a customer that was deleted
// at -infinity is deleted.
func testInfiniteTimes(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "infinite", ordinary)
		p := server.directory(t, "infinite", customers.PostgresConfig{})
		for _, infinity := range []string{"infinity", "-infinity"} {
			server.Exec(t, "infinite", fmt.Sprintf(
				"UPDATE customers SET created_at = '%[1]s', modified_at = '%[1]s', first_user_event_at = '%[1]s', deleted_at = 'infinity'", infinity))
			c := find(t.Context(), t, p, adaByID)
			if c.ModifiedAt != nil || c.FirstUserEventAt != nil || c.DeletedAt != nil || time.Since(c.CreatedAt) > time.Minute {
				t.Errorf("with %s the customer is %s", infinity, c.AppendJSON(nil))
			}
		}
		server.Exec(t, "infinite", "UPDATE customers SET deleted_at = '-infinity', name = 'infinity'")
		if _, err := p.Find(t.Context(), adaByID); !errors.Is(err, customers.ErrNotFound) {
			t.Errorf("error is %v, want ErrNotFound", err)
		}
	}
}

// testOddIDs: what is no value of a column's type is nobody's ID.
func testOddIDs(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "odd", `CREATE TABLE account (uid uuid, number bigint, small smallint, token uuid, day date);
			INSERT INTO account VALUES ('`+ada.String()+`', 42, 42, '`+ada.String()+`', '2026-01-02')`)
		for column, known := range map[string]string{"number": "42", "small": "42", "token": ada.String(), "day": "2026-01-02"} {
			const query = "SELECT uid AS id, 'a@b' AS email, %[1]s::text AS external_id FROM account WHERE $1 <> '' AND %[1]s = $2"
			p := server.directory(t, "odd", customers.PostgresConfig{
				ByExternalID: fmt.Sprintf(query, column), ByID: fmt.Sprintf(query, "number"),
			})
			if c := find(t.Context(), t, p, customers.Query{OrganizationID: home, ExternalID: known}); c.ID != ada {
				t.Errorf("found %s, want %s", c.ID, ada)
			}
			for _, odd := range []customers.Query{
				{OrganizationID: home, ExternalID: "a word"},
				{OrganizationID: home, ExternalID: "9999999999999999999999999"},
				{OrganizationID: home, ExternalID: strings.Repeat("9", customers.MaxExternalID)},
				{OrganizationID: home, ExternalID: "csk_do-not-echo"},
				{OrganizationID: home, ExternalID: "'"},
				{OrganizationID: home, ID: ada},
			} {
				if _, err := p.Find(t.Context(), odd); !errors.Is(err, customers.ErrNotFound) {
					t.Errorf("%s: error for %q is %v, want ErrNotFound", column, odd.ExternalID, err)
				}
			}
		}
	}
}

// testOwnWords: errors have the SQLSTATE, and nothing of the database's text, which
// quotes what it was asked for.
func testOwnWords(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "words", `CREATE FUNCTION refuse(text) RETURNS boolean LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'no %', $1 USING DETAIL = $1, HINT = $1, ERRCODE = 'XX001'; END $$`)
		for query, want := range map[string]string{
			"SELECT $1, $2 WHERE refuse($2)":                 "it refuses the query (SQLSTATE XX001)",
			"SELECT $1, $2 FROM missing":                     "a table does not exist (SQLSTATE 42P01)",
			"SELECT $1 WHERE ('{' || $2)::json IS NULL":      "",
			"SELECT $1 WHERE ($2::text)::int = 'x'::regtype": "",
		} {
			p := server.directory(t, "words", customers.PostgresConfig{ByExternalID: query})
			_, err := p.Find(t.Context(), customers.Query{OrganizationID: home, ExternalID: "csk_do-not-echo"})
			if err == nil || strings.Contains(err.Error(), "do-not-echo") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error is %v, want %q and nothing that was sent", query, err, want)
			}
		}
	}
}

// testCheck: what can never work is named, with the query.
func testCheck(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "good", ordinary)
		server.Exec(t, "texts", table("text", "varchar(100)", "timestamp", "jsonb"))
		server.Exec(t, "integers", "CREATE TABLE customers (id bigint, organization_id uuid, external_id text, email text)")
		server.Exec(t, "numbers", "CREATE TABLE customers (id uuid, organization_id uuid, external_id bigint, email text)")
		server.Exec(t, "empty", "")
		server.Exec(t, "poor", "CREATE TABLE customers (id uuid, organization_id uuid, email text)")
		server.Exec(t, "closed", ordinary+`CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE ROLE visitor LOGIN;
			GRANT USAGE ON SCHEMA closed TO visitor`)
		as := func(user, schema string) string {
			return strings.Replace(server.dsn(schema), "postgres:"+password, user, 1)
		}
		const byID, byExternalID = "by ID (the query of CUSTOMERSESSION_CUSTOMERS_QUERY_ID, or its default): ",
			"by external ID (the query of CUSTOMERSESSION_CUSTOMERS_QUERY_EXTERNAL_ID, or its default): "
		const forMembers, onlyIDs = "for members (the query of CUSTOMERSESSION_CUSTOMERS_QUERY_MEMBERS): ",
			"SELECT id, email FROM customers WHERE organization_id = $1 AND id = $2"
		tests := []struct {
			name   string
			config customers.PostgresConfig
			want   string
			now    bool
		}{
			{"good", customers.PostgresConfig{}, "", false},
			{"texts", customers.PostgresConfig{}, "", false},
			{"wrong password", customers.PostgresConfig{DSN: secret.Text(as("guarded:"+password, "good"))}, "it refuses the connection: wrong user or password (SQLSTATE 28P01)", false},
			{"wrong setting", customers.PostgresConfig{DSN: secret.Text(server.dsn("good") + "&statement_timeout=soon")}, "it refuses the connection (SQLSTATE 22023)", false},
			{"unknown user", customers.PostgresConfig{DSN: secret.Text(as("nobody", "good"))}, "SQLSTATE 28000", false},
			{"unknown database", customers.PostgresConfig{DSN: secret.Text(strings.Replace(server.dsn("good"), "/postgres?", "/missing?", 1))}, "there is no such database (SQLSTATE 3D000)", false},
			{"no permission", customers.PostgresConfig{DSN: secret.Text(as("visitor", "closed"))}, byID + "it refuses the query: the user may not SELECT there (SQLSTATE 42501)", false},
			{"empty", customers.PostgresConfig{}, byID + "it refuses the query: a table does not exist (SQLSTATE 42P01)", false},
			{"poor", customers.PostgresConfig{}, byExternalID + "it refuses the query: a column does not exist (SQLSTATE 42703)", false},
			{"integers", customers.PostgresConfig{}, byID + "it refuses the query: an ID does not fit the type of a column (SQLSTATE 22P02); IDs of organizations and customers must be UUIDs", false},
			{"numbers", customers.PostgresConfig{}, byID + "its column external_id has numbers", false},
			{"compared as text", customers.PostgresConfig{DSN: secret.Text(server.dsn("integers")), ByID: "SELECT * FROM customers WHERE organization_id = $1 AND id::text = $2"}, byID + "its column id has numbers", false},
			{"compared as UUIDs", customers.PostgresConfig{DSN: secret.Text(server.dsn("integers")), ByID: "SELECT * FROM customers WHERE organization_id = $1 AND id = $2::uuid"}, "SQLSTATE 42883", false},
			{"external IDs as numbers", customers.PostgresConfig{
				DSN:          secret.Text(server.dsn("numbers")),
				ByID:         "SELECT id, email FROM customers WHERE organization_id = $1 AND id = $2",
				ByExternalID: "SELECT id, email, external_id::text FROM customers WHERE organization_id = $1 AND external_id = $2",
			}, "", false},
			{"no ID", customers.PostgresConfig{ByID: "SELECT 'a@b' AS email WHERE $1 < $2"}, byID + "it returns no column id", false},
			{"no e-mail", customers.PostgresConfig{ByID: "SELECT $2 AS id WHERE $1 < $2"}, byID + "it returns no column email", false},
			{"good members", customers.PostgresConfig{Members: membersQuery}, "", false},
			{"no members table", customers.PostgresConfig{DSN: secret.Text(server.dsn("numbers")), ByID: onlyIDs, ByExternalID: onlyIDs, Members: membersQuery}, forMembers + "it refuses the query: a table does not exist (SQLSTATE 42P01)", false},
			{"members of anybody", customers.PostgresConfig{Members: "SELECT * FROM members WHERE organization_id = $1"}, forMembers + "it refuses the query: it does not use all of $1 and $2, or their types are unclear (SQLSTATE 42P18)", false},
			{"members with numbers", customers.PostgresConfig{Members: "SELECT 1 AS id, 'a@b' AS email WHERE $1 < $2"}, forMembers + "its column id has numbers", false},
			{"members without an e-mail address", customers.PostgresConfig{Members: "SELECT id, external_id FROM members WHERE organization_id = $1 AND customer_id = $2"}, forMembers + "it returns no column email, which every member needs", false},
			{"members by number", customers.PostgresConfig{Members: "SELECT id, email FROM members WHERE organization_id = $1 AND $2 = 7"}, forMembers + "it refuses the query: an ID does not fit the type of a column (SQLSTATE 22P02); IDs of organizations and customers must be UUIDs", false},
			{"no SQL", customers.PostgresConfig{ByExternalID: "SELEKT $1, $2"}, byExternalID + "it refuses the query: syntax error", false},
			{"nobody listens", customers.PostgresConfig{DSN: secret.Text(fmt.Sprintf("postgres://a:%s@127.0.0.1:1/b", password))}, "connection refused", true},
			{"out of order", customers.PostgresConfig{ByID: "SELECT $1, $2 FROM pg_sleep(60)", Timeout: 200 * time.Millisecond}, "in time", true},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				schema := test.name
				if strings.Contains(schema, " ") {
					schema = "good"
				}
				err := server.directory(t, schema, test.config).Check(t.Context())
				checkError(t, err, test.want, test.now)
				if err != nil && strings.Contains(err.Error(), password) {
					t.Errorf("%v shows the password", err)
				}
				if strings.HasPrefix(test.want, "it refuses the connection") {
					_, err := server.directory(t, schema, test.config).Find(t.Context(), adaByID)
					unavailable(t, err)
				}
			})
		}
	}
}

// testOrganizations: one organization's queries hang, with more callers than
// connections. Another one has its answers meanwhile.
func testOrganizations(server database) func(*testing.T) {
	return func(t *testing.T) {
		server.Exec(t, "apart", ordinary)
		p := server.directory(t, "apart", customers.PostgresConfig{
			DSN:     secret.Text(server.dsn("apart") + "&pool_max_conns=4"),
			Timeout: 2 * time.Second,
			ByID: "SELECT c.* FROM customers c, pg_sleep(CASE $1::text WHEN '" + home.String() + "' THEN 60 ELSE 0 END) " +
				"WHERE organization_id = ($1::text)::uuid AND id = $2",
		})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { bounded(t, p, 2*time.Second) })
		}
		ended := make(chan struct{})
		go func() { callers.Wait(); close(ended) }()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for done := false; !done; {
			if _, err := p.Find(t.Context(), eveByID); err != nil {
				t.Fatalf("another organization gets %v", err)
			}
			select {
			case <-ended:
				done = true
			case <-tick.C:
			}
		}
	}
}

// TestNewPostgresWithoutVerifiedTLS: customers do not cross a network in clear
// text, or to an unverified server, unless that is wanted.
func TestNewPostgresWithoutVerifiedTLS(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(t), 0o600); err != nil {
		t.Fatal(err)
	}
	const remote = "host=db.example.com password=" + password
	tests := []struct {
		dsn     string
		refused bool
	}{
		{remote, true}, // sslmode=prefer
		{remote + " sslmode=disable", true},
		{remote + " sslmode=allow", true},
		{remote + " sslmode=prefer sslrootcert=" + ca, true},
		{remote + " sslmode=require", true},
		{remote + " sslmode=require sslrootcert=" + ca, false},
		{remote + " sslmode=verify-ca sslrootcert=" + ca, false},
		{remote + " sslmode=verify-full", false},
		{remote + " sslrootcert=system", false},
		{"postgres://u:" + password + "@db.example.com/shop?sslmode=verify-full", false},
		{"postgres://u:" + password + "@10.0.0.1/shop", true},
		{"postgres://u:" + password + "@127.0.0.1,db.example.com/shop?sslmode=disable", true},
		{"postgres://u:" + password + "@127.0.0.1:5432,[::1]:5432/shop?sslmode=disable", false},
		{"host=localhost sslmode=disable", false},
		{"host=/run/postgresql", false},
		{"host=/run/postgresql,db.example.com", true},
	}
	for _, test := range tests {
		for _, insecure := range []bool{false, true} {
			config := customers.PostgresConfig{DSN: secret.Text(test.dsn), Insecure: insecure}
			p, err := customers.NewPostgres(t.Context(), config)
			if p != nil {
				p.Close()
			}
			if got, want := err != nil, test.refused && !insecure; got != want {
				t.Errorf("%s: refused is %t (%v), want %t; allowed explicitly: %t", test.dsn, got, err, want, insecure)
			}
			if err != nil && (strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "verify-full")) {
				t.Errorf("%s: error is %v, want what to do, without the password", test.dsn, err)
			}
		}
	}
}

// pemOf returns a certificate.
func pemOf(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
