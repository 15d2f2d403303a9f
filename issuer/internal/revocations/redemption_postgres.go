package revocations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// dropRedemptionsSQL drops what may be forgotten: some at each call, and more than a
// call adds, so that no job has to. It waits for nobody who drops the same.
const dropRedemptionsSQL = `
DELETE FROM customersession_redemptions WHERE session_id = ANY (ARRAY(
  SELECT session_id FROM customersession_redemptions WHERE drop_at < now()
  ORDER BY drop_at LIMIT 10 FOR UPDATE SKIP LOCKED))`

// redeemSQL enters a redemption where there is none. Whoever comes second waits for
// the commit of the first, and for its standby.
//
// The attempt that has the entry writes it once more, which changes nothing: so its
// commit waits for the standby too, and it may be there only because somebody
// cancelled that wait.
const redeemSQL = `
WITH asked AS MATERIALIZED (
  SELECT clock_timestamp() AS at, $3::timestamptz AS drop_at, current_setting('synchronous_commit') <> 'off' AS durable
), entry AS (
  INSERT INTO customersession_redemptions AS r (session_id, attempt, redeemed_at, drop_at)
  SELECT $1::uuid, $2::bytea, at, drop_at FROM asked WHERE durable AND at < drop_at
  ON CONFLICT (session_id) DO UPDATE SET drop_at = r.drop_at
    WHERE r.attempt = EXCLUDED.attempt AND r.redeemed_at > EXCLUDED.redeemed_at - make_interval(secs => $4::bigint)
  RETURNING redeemed_at
)
SELECT durable, at >= drop_at, (SELECT redeemed_at = at FROM entry) FROM asked`

// checkRedemptionsSQL asks for what redeemSQL needs.
const checkRedemptionsSQL = `
SELECT pg_is_in_recovery(), current_setting('synchronous_commit') <> 'off',
  has_table_privilege('customersession_redemptions', 'SELECT') AND has_table_privilege('customersession_redemptions', 'INSERT')
  AND has_table_privilege('customersession_redemptions', 'UPDATE') AND has_table_privilege('customersession_redemptions', 'DELETE')`

// copyRedemptionsSQL adds entries of another store.
const copyRedemptionsSQL = `
INSERT INTO customersession_redemptions (session_id, attempt, redeemed_at, drop_at)
SELECT session_id, attempt, to_timestamp(redeemed_at), to_timestamp(drop_at)
FROM unnest($1::text[]::uuid[], $2::bytea[], $3::bigint[], $4::bigint[]) AS r (session_id, attempt, redeemed_at, drop_at)
ON CONFLICT DO NOTHING`

// PostgresRedemptions are in a table of a PostgreSQL database, for any number of
// hosts. [PostgresSchema] makes the table. See [Postgres].
type PostgresRedemptions struct {
	pool    *pgxpool.Pool
	timeout time.Duration
}

// NewPostgresRedemptions returns the redemptions in a database. It does not connect
// to it, and it may be down for now.
func NewPostgresRedemptions(ctx context.Context, config PostgresConfig) (*PostgresRedemptions, error) {
	p := &PostgresRedemptions{timeout: cmp.Or(config.Timeout, 3*time.Second)}
	var err error
	if p.pool, err = connections(ctx, config, p.timeout, appendConnections); err != nil {
		return nil, fmt.Errorf("configuring the redemptions: %w", err)
	}
	return p, nil
}

// Redeem implements [Redemptions].
func (p *PostgresRedemptions) Redeem(ctx context.Context, r Redemption) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	outcome, err := p.redeem(ctx, r)
	if lost(err) && ctx.Err() == nil {
		outcome, err = p.redeem(ctx, r) // the same attempt
	}
	if err != nil {
		return 0, fmt.Errorf("redeeming a code: %w", redemptionsError(err))
	}
	return outcome, nil
}

// redeem redeems once.
func (p *PostgresRedemptions) redeem(ctx context.Context, r Redemption) (Outcome, error) {
	batch := &pgx.Batch{}
	batch.Queue(limitSQL, p.timeout.Milliseconds()*2/3) // in time to say so
	batch.Queue(dropRedemptionsSQL)
	batch.Queue(redeemSQL, r.SessionID, r.Attempt[:], r.DropAt, int64(RepeatTime/time.Second))
	var durable, late bool
	var first *bool
	err := commit(ctx, p.pool, batch, &durable, &late, &first)
	switch {
	case err != nil:
		return 0, err
	case !durable:
		return 0, pgx.ErrNoRows // as an append that inserts nothing
	case late:
		return Late, nil
	case first == nil:
		return Used, nil
	case *first:
		return Redeemed, nil
	default:
		return Repeated, nil
	}
}

// Check implements [Redemptions].
func (p *PostgresRedemptions) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var standby, durable, allowed bool
	err := p.pool.QueryRow(ctx, checkRedemptionsSQL).Scan(&standby, &durable, &allowed)
	switch {
	case err != nil:
	case standby:
		err = errStandby
	case !durable:
		err = pgx.ErrNoRows
	case !allowed:
		return fmt.Errorf("checking the redemptions: %w: the user must be allowed to %s", ErrRefused, redemptionsRights)
	}
	if err != nil {
		return fmt.Errorf("checking the redemptions: %w", redemptionsError(err))
	}
	return nil
}

// Close implements [Redemptions]. It waits for the calls in progress.
func (p *PostgresRedemptions) Close() { p.pool.Close() }

// redemptionsRights is what a role must be allowed to do.
const redemptionsRights = "SELECT, INSERT, UPDATE and DELETE in customersession_redemptions; see customersession revocations init --print"

func redemptionsError(err error) error {
	return table{"customersession_redemptions", redemptionsRights}.describe(err)
}

// copyRedemptions adds the entries beside a log in a file to a database. There are
// none if there is no file of them.
func copyRedemptions(ctx context.Context, path string, config PostgresConfig) error {
	file := NewFileRedemptions(path)
	defer file.Close()
	list, err := file.read(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := NewPostgresRedemptions(ctx, config)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	var ids []string
	var attempts [][]byte
	var at, dropAt []int64
	for _, r := range list {
		ids, attempts = append(ids, r.ID), append(attempts, r.redeemed.attempt[:])
		at, dropAt = append(at, r.redeemed.at.Unix()), append(dropAt, r.DropAt.Unix())
	}
	if _, err := p.pool.Exec(ctx, copyRedemptionsSQL, ids, attempts, at, dropAt); err != nil {
		return fmt.Errorf("copying the redemptions: %w", redemptionsError(err))
	}
	return nil
}
