//go:build unix

package customers_test

import (
	"fmt"
	"testing"

	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// password is in every connection string and must be in no error.
const password = "do-not-echo"

// database is a PostgreSQL server of the tests.
type database struct{ *postgres.Server }

// newDatabase makes one without starting it.
func newDatabase(t *testing.T) database {
	t.Helper()
	return database{postgres.New(t)}
}

// dsn connects to the server; the search path makes a schema look like a
// database of its own.
func (d database) dsn(schema string) string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable&search_path=%s",
		password, d.Port, schema)
}

// directory is a Postgres on a schema of the server.
func (d database) directory(t *testing.T, schema string, config customers.PostgresConfig) *customers.Postgres {
	t.Helper()
	if config.DSN == "" {
		config.DSN = secret.Text(d.dsn(schema))
	}
	p, err := customers.NewPostgres(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
