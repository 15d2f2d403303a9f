//go:build unix

package customers_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// testInfiniteTimes: an infinite time is no time, and a customer that was deleted
// at -infinity is deleted.
func testInfiniteTimes(server *postgres) func(*testing.T) {
	return func(t *testing.T) {
		server.exec(t, "infinite", ordinary)
		p := server.directory(t, "infinite", customers.PostgresConfig{})
		for _, infinity := range []string{"infinity", "-infinity"} {
			server.exec(t, "infinite", fmt.Sprintf(
				"UPDATE customers SET created_at = '%[1]s', modified_at = '%[1]s', first_user_event_at = '%[1]s', deleted_at = 'infinity'", infinity))
			c := find(t.Context(), t, p, adaByID)
			if c.ModifiedAt != nil || c.FirstUserEventAt != nil || c.DeletedAt != nil || time.Since(c.CreatedAt) > time.Minute {
				t.Errorf("with %s the customer is %s", infinity, c.AppendJSON(nil))
			}
		}
		server.exec(t, "infinite", "UPDATE customers SET deleted_at = '-infinity', name = 'infinity'")
		if _, err := p.Find(t.Context(), adaByID); !errors.Is(err, customers.ErrNotFound) {
			t.Errorf("error is %v, want ErrNotFound", err)
		}
	}
}

// testOddIDs: what is no value of a column's type is nobody's ID.
func testOddIDs(server *postgres) func(*testing.T) {
	return func(t *testing.T) {
		server.exec(t, "odd", `CREATE TABLE account (uid uuid, number bigint, small smallint, token uuid, day date);
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
func testOwnWords(server *postgres) func(*testing.T) {
	return func(t *testing.T) {
		server.exec(t, "words", `CREATE FUNCTION refuse(text) RETURNS boolean LANGUAGE plpgsql AS
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

// testOrganizations: one organization's queries hang, with more callers than
// connections. Another one has its answers meanwhile.
func testOrganizations(server *postgres) func(*testing.T) {
	return func(t *testing.T) {
		server.exec(t, "apart", ordinary)
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
