package revocations

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/google/uuid"
)

// Redemptions keep which codes have been redeemed, so that each is redeemed once,
// however many processes are asked at the same instant. They are beside the log of
// revocations, and never in the feed. Redemptions are safe for concurrent use.
type Redemptions interface {
	// Redeem enters that a code has been redeemed, unless there is an entry
	// already. Whichever of these is the outcome: an entry is durable when Redeem
	// returns, and no later call finds that it is not there before its DropAt.
	//
	// An error means that it is unknown whether there is an entry; it wraps
	// ErrUnavailable or ErrRefused. Repeating with the same attempt is always safe.
	Redeem(ctx context.Context, r Redemption) (Outcome, error)
	// Check reports, without an entry, why Redeem cannot work now.
	Check(ctx context.Context) error
	// Close frees what the redemptions hold in this process.
	Close()
}

// A Redemption is what is asked of Redemptions.
type Redemption struct {
	// SessionID is the session of the code, of which there is one.
	SessionID uuid.UUID
	// Attempt tells one attempt to redeem the code from another.
	Attempt Attempt
	// DropAt is when the entry may be forgotten, by the clock of the store: nobody
	// accepts the code any more.
	DropAt time.Time
}

// An Attempt is a hash of what its maker calls an attempt. The store never sees
// that itself.
type Attempt [sha256.Size]byte

// NewAttempt returns the attempt of that name to redeem the code of a session.
func NewAttempt(sessionID uuid.UUID, name string) Attempt {
	return sha256.Sum256(append(sessionID[:], name...))
}

// RepeatTime is for how long after its first success an attempt succeeds again, by
// the clock of the store: what it was told may not have arrived.
const RepeatTime = time.Minute

// CodeRetention is how long an entry is kept after its code has expired, so that
// clocks may differ as much as [Retention] allows.
const CodeRetention = Retention - 24*time.Hour

// An Outcome is what became of an attempt to redeem a code.
type Outcome int

// The outcomes. Only the first two are a success.
const (
	// Redeemed means that the code had not been redeemed, and has been now.
	Redeemed Outcome = iota + 1
	// Repeated means that the same attempt has redeemed the code, less than
	// RepeatTime ago.
	Repeated
	// Used means that another attempt has redeemed the code, or this one longer ago.
	Used
	// Late means that it is past DropAt: whether the code was redeemed may have been
	// forgotten.
	Late
)

// A redeemed is an entry.
type redeemed struct {
	attempt    Attempt
	at, dropAt time.Time
}

// outcome judges an attempt when there is an entry.
func (e *redeemed) outcome(r *Redemption, now time.Time) Outcome {
	if e.attempt == r.Attempt && now.Before(e.at.Add(RepeatTime)) {
		return Repeated
	}
	return Used
}
