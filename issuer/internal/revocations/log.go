package revocations

import (
	"context"
	"errors"
	"time"
)

// A Log keeps entries in order. Any number of processes may use one log at the
// same time. A Log is safe for concurrent use.
type Log interface {
	// Append adds an entry and returns it as it is in the log. The record is
	// durable when Append returns, and in every Read that begins afterwards.
	//
	// An error means that the outcome is unknown, unless it wraps ErrRefused or
	// ErrEntry: then the entry is not in the log.
	// Repeating is always safe: a second record of the same entry changes nothing.
	Append(ctx context.Context, entry Entry) (Record, error)
	// Read returns all records after a position that were durable when the call
	// began and are in force, in order.
	Read(ctx context.Context, after Position) (Page, error)
	// Close frees what the log holds in this process.
	Close()
}

// ErrUnavailable means that the log cannot be reached now.
var ErrUnavailable = errors.New("revocation log is unavailable")

// ErrRefused means that the log, as it is set up, cannot keep its promise, such
// as a standby or a file that is damaged. It stays so until it is repaired.
var ErrRefused = errors.New("revocation log is refused")

// ErrEntry means that there can be no such entry: its ID is too long or is not
// text.
var ErrEntry = errors.New("not a revocation")

// A Position is a place in a log: everything up to and including a record.
type Position struct {
	// Log is the incarnation. Whatever may lose or reorder records, such as a
	// new table, a restored backup or a promoted standby, is a new one.
	Log string
	// Seq is the number of the record. Within one incarnation it never
	// decreases, also when all entries have been dropped.
	Seq int64
}

// A Page is the answer of a Log to a Read.
type Page struct {
	// Position is that of the newest record, dropped ones included.
	Position Position
	// Complete reports that Records are all that are in force, not only those
	// after the position that was asked for: it was the zero position, of
	// another incarnation, or one that the log has not got to.
	Complete bool
	Records  []Record
	// Clock is the log's clock at some time during the call.
	Clock time.Time
}

// Retention is how long an entry is kept after "until now", whatever the settings
// say: the longest token, the widest leeway of a verifier, and twice the largest
// difference of clocks that a key policy allows.
const Retention = 24*time.Hour + 5*time.Minute + 2*5*time.Minute

// margin is by how much "until now" exceeds the log's clock, so that it covers
// what replicas issue whose clocks are ahead.
const margin = 2 * time.Second

// IssuedBefore returns the end of "until now" at a time of the log's clock:
// sessions that were issued before it are dead. It is a whole second.
func IssuedBefore(now time.Time) time.Time {
	rounded := now.Truncate(time.Second)
	if rounded.Before(now) {
		rounded = rounded.Add(time.Second)
	}
	return rounded.Add(margin)
}
