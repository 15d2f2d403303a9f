package feed

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// ErrNoRedemptions means that codes cannot be redeemed here.
var ErrNoRedemptions = errors.New("codes cannot be redeemed here: there is no store of redemptions")

// ErrRedeem means that the store of redemptions did not answer as it should, so
// that the code may be redeemed or not. Repeating the same attempt is safe.
var ErrRedeem = errors.New("the outcome of the redemption is unknown")

// A Redeemer asks a store of redemptions, for a bounded time and for a bounded
// number of callers. It is safe for concurrent use.
type Redeemer struct {
	store revocations.Redemptions
	slots *bulkhead
}

// NewRedeemer returns a redeemer. Store may be nil.
func NewRedeemer(store revocations.Redemptions) *Redeemer {
	return &Redeemer{store: store, slots: newBulkhead(appendsAtOnce)}
}

// Enabled reports whether there is a store.
func (r *Redeemer) Enabled() bool { return r.store != nil }

// Check reports why codes cannot be redeemed now. Without a store that is
// ErrNoRedemptions; otherwise see [revocations.Redemptions].
func (r *Redeemer) Check(ctx context.Context) error {
	if r.store == nil {
		return ErrNoRedemptions
	}
	limited, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	checked, _ := inTime(limited, begin(func() (struct{}, error) { return struct{}{}, r.store.Check(limited) }))
	return checked.err
}

// Redeem redeems a code of an organization. The error wraps ErrNoRedemptions or
// ErrRedeem.
func (r *Redeemer) Redeem(ctx context.Context, organization uuid.UUID, redemption revocations.Redemption) (revocations.Outcome, error) {
	if r.store == nil {
		return 0, ErrNoRedemptions
	}
	limited, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	leave, err := r.slots.enter(limited, organization)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrRedeem, err)
	}
	redeeming := begin(func() (revocations.Outcome, error) {
		defer leave()
		return r.store.Redeem(limited, redemption)
	})
	result, _ := inTime(limited, redeeming)
	if result.err != nil {
		return 0, fmt.Errorf("%w: %w", ErrRedeem, result.err)
	}
	return result.value, nil
}

// Close closes the store.
func (r *Redeemer) Close() {
	if r.store != nil {
		r.store.Close()
	}
}
