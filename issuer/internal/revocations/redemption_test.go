package revocations_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// redemptionOf is an attempt to redeem a code now.
func redemptionOf(session uuid.UUID, name string) revocations.Redemption {
	return revocations.Redemption{
		SessionID: session, Attempt: revocations.NewAttempt(session, name),
		DropAt: time.Now().Add(10*time.Minute + revocations.CodeRetention),
	}
}

// wantOutcome redeems a code.
func wantOutcome(t testing.TB, store revocations.Redemptions, r revocations.Redemption, want revocations.Outcome) {
	t.Helper()
	if got, err := store.Redeem(t.Context(), r); err != nil || got != want {
		t.Errorf("got %d, %v; want %d", got, err, want)
	}
}

// conformRedemptions holds a store to its contract. Open opens it each time as
// another process would.
func conformRedemptions(t *testing.T, open func() revocations.Redemptions) {
	t.Helper()
	t.Run("repeated", func(t *testing.T) {
		t.Parallel()
		store, other := open(), open()
		code := uuid.New()
		wantOutcome(t, store, redemptionOf(code, "a"), revocations.Redeemed)
		wantOutcome(t, other, redemptionOf(code, "a"), revocations.Repeated)
		wantOutcome(t, other, redemptionOf(code, "b"), revocations.Used)
		wantOutcome(t, store, redemptionOf(code, "b"), revocations.Used)
		wantOutcome(t, store, redemptionOf(code, "a"), revocations.Repeated)
		wantOutcome(t, store, redemptionOf(uuid.New(), "a"), revocations.Redeemed)
		if err := store.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		store, code := open(), uuid.New()
		r := redemptionOf(code, "a")
		r.DropAt = time.Now().Add(-time.Second)
		wantOutcome(t, store, r, revocations.Late)
		wantOutcome(t, store, redemptionOf(code, "b"), revocations.Redeemed)
	})
	// Two portals have one code at the same instant.
	t.Run("race", func(t *testing.T) {
		t.Parallel()
		stores := []revocations.Redemptions{open(), open()}
		for i := range 100 {
			code, start := uuid.New(), make(chan struct{})
			outcomes := make([]revocations.Outcome, len(stores))
			var group sync.WaitGroup
			for portal, store := range stores {
				group.Go(func() {
					<-start
					var err error
					if outcomes[portal], err = store.Redeem(t.Context(), redemptionOf(code, strconv.Itoa(portal))); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			group.Wait()
			if got := outcomes[0] + outcomes[1]; got != revocations.Redeemed+revocations.Used || outcomes[0] == outcomes[1] {
				t.Fatalf("code %d: the outcomes are %v", i, outcomes)
			}
		}
	})
}

func TestMemoryRedemptions(t *testing.T) {
	t.Parallel()
	store := revocations.NewMemoryRedemptions()
	conformRedemptions(t, func() revocations.Redemptions { return store })
}

// testRepeatTime: an attempt may be repeated for a minute, and an entry is kept
// until it may be dropped.
func testRepeatTime(t *testing.T, store revocations.Redemptions) {
	t.Helper()
	code := uuid.New()
	first := redemptionOf(code, "a")
	wantOutcome(t, store, first, revocations.Redeemed)
	time.Sleep(revocations.RepeatTime - 2*time.Second)
	wantOutcome(t, store, first, revocations.Repeated)
	time.Sleep(2 * time.Second)
	wantOutcome(t, store, first, revocations.Used)
	time.Sleep(time.Until(first.DropAt) - time.Second)
	wantOutcome(t, store, first, revocations.Used)
	time.Sleep(time.Second)
	wantOutcome(t, store, first, revocations.Late)
}

func TestMemoryRedemptionsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { testRepeatTime(t, revocations.NewMemoryRedemptions()) })
}
