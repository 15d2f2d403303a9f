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
	// Members is a SELECT statement for all members of a customer. $1 is the
	// organization ID, $2 the customer's ID. Default: none, so that there are no
	// members ([ErrNoMembers]).
	Members string
	// Timeout is for one look-up, including the wait for a connection. Default: 2
	// seconds.
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
// uuid, boolean. The columns of members are id, external_id, name, email, role and
// deleted_at.
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
	members      string // empty: there are none
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
		members:      config.Members,
		timeout:      timeout,
		guard:        newGuard(int(pool.MaxConns)),
	}, nil
}

// subquery is a query as part of another one. The line break ends a comment at its
// end.
func subquery(query string) string {
	return " FROM (\n" + strings.TrimRight(query, "; \t\r\n") + "\n) AS found "
}

// Close closes the connections after the queries in progress.
func (p *Postgres) Close() { p.pool.Close() }

// Find asks the database, by ID if there is one. If a row is no valid customer, or
// there is more than one row, the error is [ErrUnavailable].
func (p *Postgres) Find(ctx context.Context, q Query) (*Customer, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	query, key := p.byExternalID, q.ExternalID
	if q.ID != uuid.Nil {
		query, key = p.byID, q.ID.String()
	}
	row, err := p.row(ctx, q.OrganizationID, customerRows(query), pgx.QueryExecModeExec, q.OrganizationID.String(), key)
	if err != nil {
		return nil, err
	}
	c, err := parseRow(row, Defaults{OrganizationID: q.OrganizationID, CreatedAt: time.Now()})
	if err != nil {
		return nil, badRow(err)
	}
	return q.answer(c)
}

// FindMember asks the database as Find does.
func (p *Postgres) FindMember(ctx context.Context, q Query, c *Customer) (*Member, error) {
	if p.members == "" {
		return nil, ErrNoMembers
	}
	if err := q.checkMember(); err != nil {
		return nil, err
	}
	name, key := "external_id", q.ExternalMemberID
	if q.MemberID != uuid.Nil {
		name, key = "id", q.MemberID.String()
	}
	row, err := p.row(ctx, q.OrganizationID, memberRows(p.members, name),
		pgx.QueryExecModeExec, q.OrganizationID.String(), c.ID.String(), key)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrMemberNotFound
	}
	if err != nil {
		return nil, err
	}
	m, err := parseMember(row, true)
	if err != nil && !errors.Is(err, ErrMemberNotFound) {
		err = badRow(err)
	}
	return m, err
}

// badRow is the error for a row that is not what it should be. It wraps no
// [*ValidationError], which would be about the caller's request.
func badRow(err error) error {
	return fmt.Errorf("reading a row of the customer database: %w: %s", ErrUnavailable, err.Error())
}

// row returns the one row of a statement. The error is [ErrNotFound] or wraps
// [ErrUnavailable].
func (p *Postgres) row(ctx context.Context, organization uuid.UUID, statement string, arguments ...any) ([]byte, error) {
	rows, err := p.rows(ctx, organization, statement, arguments)
	if refused, ok := errors.AsType[*stateError](err); ok && refused.badValue() {
		// The ID is no value of the column's type, so nothing has it.
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("asking the customer database: %w: %w", ErrUnavailable, err)
	}
	switch len(rows) {
	case 0:
		return nil, ErrNotFound
	case 1:
		return rows[0], nil
	default:
		return nil, fmt.Errorf("asking the customer database: %w: the query returns more than one row", ErrUnavailable)
	}
}

// rows asks once, and again if the connection turns out to be dead, as after a
// restart of the database.
func (p *Postgres) rows(ctx context.Context, organization uuid.UUID, statement string, arguments []any) (rows [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err = p.guard.do(ctx, organization, func() error {
		rows, err = p.ask(ctx, statement, arguments)
		if remote.ConnectionLost(err) && ctx.Err() == nil {
			rows, err = p.ask(ctx, statement, arguments)
		}
		return databaseError(err)
	})
	return rows, err
}

// customerRows returns the statement for the customers of a query. Each row becomes
// one JSON object: PostgreSQL maps columns by name and encodes each type, and [Parse]
// does the rest. Two rows are enough to see that there is more than one.
func customerRows(query string) string {
	return "SELECT row_to_json(found)" + subquery(query) + "LIMIT 2"
}

// memberRows returns the statement for the members of a query whose column of that
// name, if there is one, is $3.
func memberRows(query, name string) string {
	return "SELECT row_to_json(found)" + subquery(query) + "WHERE row_to_json(found)->>'" + name + "' = $3 LIMIT 2"
}

// ask runs a statement.
//
// It is not prepared: a prepared statement would not survive a pooler or every
// change of the schema. The arguments are sent as text of unknown type, so that the
// database decides their types; the first one asks pgx for that.
func (p *Postgres) ask(ctx context.Context, statement string, arguments []any) ([][]byte, error) {
	rows, err := p.pool.Query(ctx, statement, arguments...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}
