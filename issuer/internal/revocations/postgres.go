package revocations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customersession/customersession/issuer/internal/remote"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// PostgresConfig is the configuration of a [Postgres] log.
type PostgresConfig struct {
	// DSN is a URL (postgres://…) or a list of key=value pairs, as in libpq. With
	// several hosts and target_session_attrs=read-write it follows a failover.
	// Required.
	DSN secret.Text
	// Insecure allows a connection to another host without TLS, or with a
	// certificate that is not verified. Anyone on the path can then read, add and
	// hide entries.
	Insecure bool
	// Timeout is for one call, including the wait for a connection. Default: 3
	// seconds.
	Timeout time.Duration
}

// Connections of one process: appends wait for each other in the database anyway.
const (
	appendConnections = 2
	readConnections   = 2
)

// Postgres is a log in a table of a PostgreSQL database, for any number of hosts.
// [PostgresSchema] makes the table.
//
// It needs only the permissions to SELECT and to INSERT, and works through a
// connection pooler in transaction mode. Appends and reads have connections of
// their own, so that a slow append does not delay reads.
type Postgres struct {
	appends, reads *pgxpool.Pool
	timeout        time.Duration
	lock           string
}

// NewPostgres returns the log in a database. It does not connect to it, and it may
// be down for now.
func NewPostgres(ctx context.Context, config PostgresConfig) (*Postgres, error) {
	p := &Postgres{timeout: cmp.Or(config.Timeout, 3*time.Second), lock: lockSQL}
	var err error
	if p.appends, err = connections(ctx, config, p.timeout, appendConnections); err != nil {
		return nil, fmt.Errorf("configuring the revocation log: %w", err)
	}
	if p.reads, err = connections(ctx, config, p.timeout, readConnections); err != nil {
		p.appends.Close()
		return nil, fmt.Errorf("configuring the revocation log: %w", err)
	}
	return p, nil
}

func connections(ctx context.Context, config PostgresConfig, timeout time.Duration, most int32) (*pgxpool.Pool, error) {
	pool, err := remote.ParseDSN(config.DSN, config.Insecure, "CUSTOMERSESSION_REVOCATIONS_DSN_INSECURE")
	if err != nil {
		return nil, err
	}
	if c := pool.ConnConfig; c.ConnectTimeout == 0 || c.ConnectTimeout > timeout {
		c.ConnectTimeout = timeout
	}
	// A statement that is prepared does not survive a pooler.
	pool.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool.ConnConfig.OnNotice = noteWarning
	pool.MaxConns, pool.MinConns, pool.MinIdleConns = most, 0, 0
	return pgxpool.NewWithConfig(ctx, pool)
}

// warned is the key under which a connection remembers a warning.
const warned = "warned"

// noteWarning remembers that the server has warned. When somebody cancels the wait
// for a synchronous standby, the commit ends with a warning instead of an error.
func noteWarning(c *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warned] = true
	}
}

// Close implements [Log]. It waits for the calls in progress.
func (p *Postgres) Close() {
	p.appends.Close()
	p.reads.Close()
}

// Append implements [Log].
func (p *Postgres) Append(ctx context.Context, entry Entry) (Record, error) {
	if err := entry.check(); err != nil {
		return Record{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	record, err := p.insert(ctx, entry)
	if lost(err) && ctx.Err() == nil {
		record, err = p.insert(ctx, entry) // repeating is safe
	}
	if err != nil {
		return Record{}, fmt.Errorf("appending to the revocation log: %w", databaseError(err))
	}
	return record, nil
}

// insert appends once.
func (p *Postgres) insert(ctx context.Context, entry Entry) (Record, error) {
	var dropAt *time.Time
	if !entry.DropAt.IsZero() {
		dropAt = &entry.DropAt
	}
	batch := &pgx.Batch{}
	batch.Queue(limitSQL, p.timeout.Milliseconds()*2/3) // in time to say so
	batch.Queue(p.lock)
	batch.Queue(insertSQL, string(entry.Scope), entry.OrganizationID, entry.ID, entry.Scope.UntilNow(), dropAt,
		int64(Retention/time.Second), int64(margin/time.Second))
	record := Record{Scope: entry.Scope, OrganizationID: entry.OrganizationID, ID: entry.ID}
	var issuedBefore *time.Time
	var durable bool
	if err := commit(ctx, p.appends, batch, &record.Seq, &issuedBefore, &record.DropAt, &durable); err != nil {
		return Record{}, err
	}
	if issuedBefore != nil {
		record.IssuedBefore = *issuedBefore
	}
	return record, nil
}

// commit sends all statements at once, as one transaction (PostgreSQL, Section
// 55.2.4, Pipelining): the database waits for nothing of ours while it holds a lock,
// so a client that is gone does not keep it. It scans the row of the last one, and
// returns nil once the transaction is durable.
func commit(ctx context.Context, pool *pgxpool.Pool, batch *pgx.Batch, row ...any) error {
	connection, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer connection.Release()
	delete(connection.Conn().PgConn().CustomData(), warned)
	results := connection.SendBatch(ctx, batch)
	defer results.Close()
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	err = results.QueryRow().Scan(row...)
	// The commit is reported last.
	if err := errors.Join(err, results.Close()); err != nil {
		return err
	}
	if connection.Conn().PgConn().CustomData()[warned] != nil {
		return errNotReplicated
	}
	return nil
}

// Read implements [Log]. All of the answer is from one snapshot.
func (p *Postgres) Read(ctx context.Context, after Position) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	page, err := p.selectAfter(ctx, after)
	if lost(err) && ctx.Err() == nil {
		page, err = p.selectAfter(ctx, after)
	}
	if err != nil {
		return Page{}, fmt.Errorf("reading the revocation log: %w", databaseError(err))
	}
	page.Complete = !after.continues(page.Position)
	return page, nil
}

// selectAfter reads once.
func (p *Postgres) selectAfter(ctx context.Context, after Position) (page Page, err error) {
	rows, err := p.reads.Query(ctx, selectSQL, after.Log, after.Seq)
	if err != nil {
		return Page{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var scope, id string
		var record Record
		var issuedBefore, dropAt int64
		if err := rows.Scan(&scope, &record.OrganizationID, &id, &record.Seq, &issuedBefore, &dropAt); err != nil {
			return Page{}, err
		}
		switch {
		case record.Seq > 0:
			record.Scope, record.ID, record.DropAt = known(scope), id, time.Unix(dropAt, 0)
			if issuedBefore != 0 {
				record.IssuedBefore = time.Unix(issuedBefore, 0)
			}
			page.Records = append(page.Records, record)
		case scope == "standby":
			return Page{}, errStandby
		case id == "":
			return Page{}, errNameless
		default:
			page.Position, page.Clock = Position{Log: id, Seq: issuedBefore}, time.UnixMicro(dropAt)
		}
	}
	return page, rows.Err()
}

// known returns the scope of that name without a copy of the name.
func known(name string) Scope {
	for _, scope := range []Scope{Session, Customer, Member, APIKey, Organization, SigningKey, Manifest} {
		if string(scope) == name {
			return scope
		}
	}
	return Scope(name)
}
