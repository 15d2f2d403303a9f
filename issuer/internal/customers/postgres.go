package customers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customersession/customersession/issuer/internal/remote"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// The default queries. The settings repeat them.
const (
	defaultByID         = "SELECT * FROM customers WHERE organization_id = $1 AND id = $2"
	defaultByExternalID = "SELECT * FROM customers WHERE organization_id = $1 AND external_id = $2"
)

// PostgresConfig is the configuration of a [Postgres] directory. The zero value of
// a field is its default.
type PostgresConfig struct {
	// DSN is a URL (postgres://…) or a list of key=value pairs, as in libpq,
	// with pool_max_conns and the other pool_… settings of pgxpool. Required.
	DSN secret.Text
	// ByID and ByExternalID are SELECT statements for at most one customer.
	// $1 is the organization ID, $2 the customer's ID or external ID; their
	// types are whatever the statement compares them with. Default: all columns
	// of the table customers, by organization_id and id or external_id.
	ByID, ByExternalID string
	// Timeout is for one [Postgres.Find], including the wait for a connection.
	// Default: 2 seconds.
	Timeout time.Duration
	// Insecure allows a connection to another host without TLS, or with a
	// certificate that is not verified. Anyone on the path can then read and
	// change customers.
	Insecure bool
}

// Postgres is the [Directory] in a PostgreSQL database.
//
// Columns are matched with the members of [Customer] by name. Other columns are
// ignored, missing ones get their default: the organization of the query, the
// present time for created_at, and null. Metadata and billing_address are json
// or jsonb, tax_id is an array of text or json, times are timestamptz (or
// timestamp, in UTC), and everything else has the type of its JSON form: text,
// uuid, boolean.
//
// An infinite time is no time: it counts as null, but for a deleted_at of
// -infinity, which means deleted.
//
// It needs only the permission to SELECT, and works through a connection pooler
// in transaction mode. The schema may change while it runs. One organization uses
// at most half of the pool's connections at the same time. After five look-ups in a
// row without a connection or an answer in time, those of that organization fail at
// once, except for a probe about every two seconds.
type Postgres struct {
	pool         *pgxpool.Pool
	byID         string
	byExternalID string
	timeout      time.Duration
	guard        *guard
}

// NewPostgres returns a Postgres directory. It does not connect to the database,
// which may be down for now; connections are made when they are needed. Call
// [Postgres.Close] in the end.
func NewPostgres(ctx context.Context, config PostgresConfig) (*Postgres, error) {
	timeout := cmp.Or(config.Timeout, 2*time.Second)
	if timeout < 0 {
		return nil, errors.New("configuring the customer database: timeout must not be negative")
	}
	pool, err := remote.ParseDSN(config.DSN, config.Insecure, "CUSTOMERSESSION_CUSTOMERS_DSN_INSECURE")
	if err != nil {
		return nil, fmt.Errorf("configuring the customer database: %w", err)
	}
	if c := pool.ConnConfig; c.ConnectTimeout == 0 || c.ConnectTimeout > timeout {
		c.ConnectTimeout = timeout
	}
	connections, err := pgxpool.NewWithConfig(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("configuring the customer database: %w", err)
	}
	return &Postgres{
		pool:         connections,
		byID:         cmp.Or(config.ByID, defaultByID),
		byExternalID: cmp.Or(config.ByExternalID, defaultByExternalID),
		timeout:      timeout,
		guard:        newGuard(int(pool.MaxConns)),
	}, nil
}

// subquery is a query as part of another one. The line break ends a comment at its
// end.
func subquery(query string) string {
	return " FROM (\n" + strings.TrimRight(query, "; \t\r\n") + "\n) AS customer "
}

// Close closes the connections after the queries in progress.
func (p *Postgres) Close() { p.pool.Close() }

// Find asks the database, by ID if there is one. If a row is no valid customer, or
// there is more than one row, the error is [ErrUnavailable].
func (p *Postgres) Find(ctx context.Context, q Query) (*Customer, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	rows, err := p.rows(ctx, q)
	if refused, ok := errors.AsType[*stateError](err); ok && refused.badValue() {
		// The ID is no value of the column's type, so no customer has it.
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("asking the customer database: %w: %w", ErrUnavailable, err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound
	}
	if len(rows) > 1 {
		return nil, fmt.Errorf("asking the customer database: %w: the query returns more than one row",
			ErrUnavailable)
	}
	c, err := parseRow(rows[0], Defaults{OrganizationID: q.OrganizationID, CreatedAt: time.Now()})
	if err != nil {
		// Not wrapped: a ValidationError is about the caller's request.
		return nil, fmt.Errorf("reading a row of the customer database: %w: %s", ErrUnavailable, err.Error())
	}
	return q.answer(c)
}

// rows asks once, and again if the connection turns out to be dead, as after a
// restart of the database.
func (p *Postgres) rows(ctx context.Context, q Query) (rows [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	query, key := p.byExternalID, q.ExternalID
	if q.ID != uuid.Nil {
		query, key = p.byID, q.ID.String()
	}
	err = p.guard.do(ctx, q.OrganizationID, func() error {
		rows, err = p.ask(ctx, query, q.OrganizationID.String(), key)
		if remote.ConnectionLost(err) && ctx.Err() == nil {
			rows, err = p.ask(ctx, query, q.OrganizationID.String(), key)
		}
		return databaseError(err)
	})
	return rows, err
}

// ask runs a query so that each row becomes one JSON object: PostgreSQL maps
// columns by name and encodes each type, and [Parse] does the rest. Two rows are
// enough to see that there is more than one.
//
// The query is not prepared: a prepared statement would not survive a pooler or
// every change of the schema. The arguments are sent as text of unknown type, so
// that the database decides their types.
func (p *Postgres) ask(ctx context.Context, query, organization, key string) ([][]byte, error) {
	rows, err := p.pool.Query(ctx, "SELECT row_to_json(customer)"+subquery(query)+"LIMIT 2",
		pgx.QueryExecModeExec, organization, key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}
