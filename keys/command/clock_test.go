package command_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/keys/jwk"
)

// TestClockOfASchedule lives through the schedules of many policies, with changes
// by hand, and with runs that come late, but no later than a key that signed is
// published. The clock is never refused, and always if it jumps ten years.
func TestClockOfASchedule(t *testing.T) {
	t.Parallel()
	steps := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := keys.DefaultPolicy()
		p.Algorithm = jwk.EdDSA // which is quick to generate
		p.Lease = time.Duration(1+r.IntN(300)) * time.Hour
		p.RotationPeriod = time.Duration(1+r.IntN(1000)) * time.Hour
		p.MaxLifetime = time.Duration(1+r.IntN(48)) * time.Hour
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		m, err := keys.Init(p, now, r.IntN(2) == 0)
		if err != nil {
			continue // a policy that makes no sense
		}
		for range 100 {
			steps++
			if err := command.CheckClock(m, now, false); err != nil {
				t.Fatalf("seed %d: at %s, got %v, want no error", seed, now, err)
			}
			if command.CheckClock(m, now.AddDate(10, 0, 0), false) == nil {
				t.Fatalf("seed %d: ten years after %s, got no error", seed, now)
			}
			if m, err = oneStep(r, m, now); err != nil {
				t.Fatalf("seed %d: at %s, got %v", seed, now, err)
			}
			wait := p.Lease / 2
			if ends := m.SignsUntil(now); r.IntN(4) == 0 && ends.After(now) {
				wait = ends.Sub(now) + time.Duration(r.Int64N(int64(p.MaxLifetime)))
			}
			now = now.Add(wait)
		}
	}
	if steps < 10_000 {
		t.Errorf("got %d steps, want many", steps)
	}
}

// oneStep changes the manifest by hand, if that is possible, or else rotates.
func oneStep(r *rand.Rand, m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
	var changed *keys.Manifest
	var err error
	switch r.IntN(8) {
	case 0:
		changed, err = keys.Activate(m, now, "")
	case 1:
		changed, err = keys.Rollback(m, now)
	case 2:
		changed, err = keys.Add(m, now, nil)
	case 3:
		changed, err = keys.Revoke(m, now, m.Keys[r.IntN(len(m.Keys))].ID())
	}
	if changed == nil || err != nil {
		return keys.Rotate(m, now)
	}
	return changed, nil
}
