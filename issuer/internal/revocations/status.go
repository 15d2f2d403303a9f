package revocations

import (
	"context"
	"fmt"
	"time"
)

// Status describes a log to an operator.
type Status struct {
	Engine   Engine
	Position Position
	// Entries are how many records are in force, by scope.
	Entries map[Scope]int
	// ClockAhead is how far the log's clock is ahead of that of this machine, as
	// exactly as ReadTime allows.
	ClockAhead time.Duration
	// ReadTime is how long it took to read everything.
	ReadTime time.Duration
	// Replication says whether a failover may lose entries: "synchronous",
	// "asynchronous: …" or "none". It is empty if the engine has none.
	Replication string
}

// ReadStatus reads a whole log to describe it.
func ReadStatus(ctx context.Context, log Log) (Status, error) {
	start := time.Now()
	page, err := log.Read(ctx, Position{})
	if err != nil {
		return Status{}, err
	}
	took := time.Since(start)
	status := Status{
		Position: page.Position, Entries: map[Scope]int{}, ReadTime: took,
		ClockAhead: page.Clock.Sub(start.Add(took / 2)),
	}
	for _, record := range page.Records {
		status.Entries[record.Scope]++
	}
	switch log := log.(type) {
	case *File:
		status.Engine = EngineFile
	case *Postgres:
		status.Engine = EnginePostgres
		status.Replication, err = log.replication(ctx)
	}
	return status, err
}

// replicationSQL is what every role may see: that there are standbys, but not
// their states.
const replicationSQL = `
SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names') <> '',
  (SELECT count(*) FROM pg_stat_replication)`

// replication describes what happens to commits in a failover.
func (p *Postgres) replication(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var commit string
	var synchronous bool
	var standbys int
	if err := p.reads.QueryRow(ctx, replicationSQL).Scan(&commit, &synchronous, &standbys); err != nil {
		return "", fmt.Errorf("asking for the standbys of the revocation log: %w", databaseError(err))
	}
	switch {
	case synchronous && (commit == "on" || commit == "remote_apply"):
		return "synchronous", nil
	case synchronous && commit == "remote_write":
		return "synchronous, but synchronous_commit is remote_write: a standby that crashes may lose commits", nil
	case standbys > 0:
		return "asynchronous: commits may be lost in a failover", nil
	default:
		return "none", nil
	}
}
