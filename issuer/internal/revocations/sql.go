package revocations

import (
	"context"
	_ "embed" // for the SQL below
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresSchema makes the tables of a log and of the redemptions beside it.
// [PostgresGrants] says, as SQL, who needs what, and how old entries are dropped.
//
//go:embed schema.sql
var PostgresSchema string

// PostgresGrants belongs to [PostgresSchema].
//
//go:embed grants.sql
var PostgresGrants string

// limitSQL bounds the wait for the lock, in milliseconds, for this transaction.
const limitSQL = "SELECT set_config('lock_timeout', $1::bigint::text, true)"

// lockSQL orders appends: one has its number only after all that have a lower one
// are committed. A sequence alone gives numbers in another order than that of the
// commits, and a reader would pass a number that becomes visible later. The key is
// 'cust' and the table's OID; it does not block readers.
const lockSQL = "SELECT pg_advisory_xact_lock(x'6375737400000000'::bigint | 'customersession_revocations'::regclass::oid::bigint)"

// insertSQL appends. It takes the time after the lock was taken: see
// [Entry.record] for the same rules. It inserts nothing where a commit is not
// durable when it returns.
const insertSQL = `
WITH clock AS MATERIALIZED (
  SELECT at, to_timestamp(ceil(extract(epoch FROM at)) + $7::bigint) AS issued_before
  FROM (SELECT clock_timestamp() AS at) AS now
)
INSERT INTO customersession_revocations (scope, organization_id, id, issued_before, drop_at, appended_at)
SELECT $1::text, $2::uuid, $3::text, CASE WHEN $4::boolean THEN issued_before END,
  to_timestamp(ceil(extract(epoch FROM
    least($5::timestamptz, CASE WHEN $4::boolean THEN issued_before ELSE at END + make_interval(secs => $6::bigint))))), at
FROM clock
WHERE current_setting('synchronous_commit') <> 'off'
RETURNING seq, issued_before, drop_at, true`

// incarnationSQL names the incarnation: null on a standby, or if the first row is
// missing. Each part catches something else that may lose entries:
//
//   - the name in the first row: another table;
//   - the table's file: the same rows loaded again from a dump, or TRUNCATE;
//   - the system identifier: another cluster, such as a logical copy;
//   - the timeline: a standby that was promoted, or a recovery to a point in time.
const incarnationSQL = `
  CASE WHEN NOT pg_is_in_recovery() THEN
    translate(left(encode(sha256(convert_to(
      (SELECT id FROM customersession_revocations WHERE scope = 'log')
      || ' ' || pg_relation_filenode('customersession_revocations')
      || ' ' || (SELECT system_identifier FROM pg_control_system())
      || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8), 'UTF8')), 'base64'), 22), '+/', '-_')
  END`

// selectSQL reads the records after a position, if it is of this incarnation, or
// else all that are in force, with times in seconds since 1970 and 0 for null. The
// first row has the rest: whether the server is a standby, incarnation, newest
// number, and clock in microseconds. The newest number is that of a visible row:
// the sequence is ahead of what is committed.
const selectSQL = `
WITH log AS MATERIALIZED (
  SELECT ` + incarnationSQL + ` AS name, clock_timestamp() AS clock,
    (SELECT max(seq) FROM customersession_revocations) AS newest,
    (SELECT seq FROM customersession_revocations WHERE scope = 'manifest' ORDER BY id::numeric DESC, seq DESC LIMIT 1) AS highest
), place AS MATERIALIZED (
  SELECT *, CASE WHEN name = $1::text AND $2::bigint <= newest THEN $2::bigint ELSE 0 END AS after FROM log
)
SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE '' END AS scope, '00000000-0000-0000-0000-000000000000'::uuid,
  coalesce(name, ''), 0::bigint AS seq, coalesce(newest, 0), (extract(epoch FROM clock) * 1000000)::bigint
FROM place
UNION ALL
SELECT r.scope, r.organization_id, r.id, r.seq,
  coalesce(extract(epoch FROM r.issued_before), 0)::bigint, extract(epoch FROM r.drop_at)::bigint
FROM place, customersession_revocations AS r
WHERE r.seq > after AND r.scope <> 'log' AND (r.drop_at > clock OR r.seq = highest)
ORDER BY seq`

// InitPostgres makes the tables of a log and of the redemptions beside it, where
// there are none. The role must be allowed to make tables.
func InitPostgres(ctx context.Context, config PostgresConfig) error {
	p, err := NewPostgres(ctx, config)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var exist bool
	err = p.appends.QueryRow(ctx, "SELECT to_regclass('customersession_revocations') IS NOT NULL AND to_regclass('customersession_redemptions') IS NOT NULL").Scan(&exist)
	if err == nil && !exist {
		_, err = p.appends.Exec(ctx, PostgresSchema, pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		return fmt.Errorf("making the tables of the revocation log: %w", databaseError(err))
	}
	return nil
}
