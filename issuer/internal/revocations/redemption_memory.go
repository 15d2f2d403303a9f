package revocations

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
)

// MemoryRedemptions live as long as their process, for development.
type MemoryRedemptions struct {
	mu      sync.Mutex
	entries map[uuid.UUID]redeemed
	dropped time.Time // when entries were last dropped
}

// NewMemoryRedemptions returns redemptions without an entry.
func NewMemoryRedemptions() *MemoryRedemptions {
	return &MemoryRedemptions{entries: map[uuid.UUID]redeemed{}}
}

// Redeem implements [Redemptions].
func (m *MemoryRedemptions) Redeem(_ context.Context, r Redemption) (Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.drop(now)
	if !now.Before(r.DropAt) {
		return Late, nil
	}
	if entry, found := m.entries[r.SessionID]; found {
		return entry.outcome(&r, now), nil
	}
	m.entries[r.SessionID] = redeemed{r.Attempt, now, r.DropAt}
	return Redeemed, nil
}

// drop drops what may be forgotten, once a minute.
func (m *MemoryRedemptions) drop(now time.Time) {
	if now.Sub(m.dropped) < time.Minute {
		return
	}
	m.dropped = now
	maps.DeleteFunc(m.entries, func(_ uuid.UUID, e redeemed) bool { return !now.Before(e.dropAt) })
}

// Check implements [Redemptions].
func (*MemoryRedemptions) Check(context.Context) error { return nil }

// Close implements [Redemptions].
func (*MemoryRedemptions) Close() {}
