package revocations

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// copyTimeout is for [Postgres.Copy], which adds up to 100,000 records.
const copyTimeout = time.Minute

// copySQL adds records of another log with their own times, in the order of that
// log, without those that end nothing more than one that is there already.
const copySQL = `
INSERT INTO customersession_revocations (scope, organization_id, id, issued_before, drop_at, appended_at)
SELECT scope, organization_id, id, to_timestamp(nullif(issued_before, 0)), to_timestamp(drop_at), clock_timestamp()
FROM unnest($1::text[], $2::text[]::uuid[], $3::text[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
  AS r (scope, organization_id, id, issued_before, drop_at, place)
WHERE NOT EXISTS (
  SELECT FROM customersession_revocations AS here
  WHERE here.scope = r.scope AND here.organization_id = r.organization_id AND here.id = r.id
    AND coalesce(extract(epoch FROM here.issued_before), 0) >= r.issued_before
    AND extract(epoch FROM here.drop_at) >= r.drop_at)
ORDER BY place`

// Copy adds the records of another log, with their own times, when an operator
// moves from that log to this one. It returns how many were added: none that was
// there before, so it can be repeated. The role must be allowed to INSERT and to
// SELECT.
func (p *Postgres) Copy(ctx context.Context, list []Record) (added int, err error) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	n := len(list)
	scopes, organizations, ids := make([]string, n), make([]string, n), make([]string, n)
	before, drop := make([]int64, n), make([]int64, n)
	for i, r := range list {
		scopes[i], organizations[i], ids[i], drop[i] = string(r.Scope), r.OrganizationID.String(), r.ID, r.DropAt.Unix()
		if !r.IssuedBefore.IsZero() {
			before[i] = r.IssuedBefore.Unix()
		}
	}
	err = pgx.BeginFunc(ctx, p.appends, func(tx pgx.Tx) error {
		var commit string
		if err := tx.QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&commit); err != nil {
			return err
		}
		if commit == "off" {
			return pgx.ErrNoRows // as an append that inserts nothing
		}
		if _, err := tx.Exec(ctx, p.lock); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, copySQL, scopes, organizations, ids, before, drop)
		added = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("copying to the revocation log: %w", databaseError(err))
	}
	return added, nil
}
