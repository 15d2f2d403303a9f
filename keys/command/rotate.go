package command

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
)

func runRotate(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	return w.change(ctx, keys.Rotate, nil)
}

func runActivate(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	rest, err := Parse(flags, args, 1)
	if err != nil {
		return err
	}
	id := ""
	if len(rest) == 1 {
		id = rest[0]
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		return keys.Activate(m, now, id)
	}, whoSigns)
}

func runRollback(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	return w.change(ctx, keys.Rollback, whoSigns)
}

func runRevoke(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	ids, err := Parse(flags, args, -1)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return Misused("keys revoke needs the key ID of what to revoke; keys status lists them")
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		return keys.Revoke(m, now, ids...)
	}, costs)
}

// whoSigns says which key signs, or when one will.
func whoSigns(_, next *keys.Manifest, now time.Time) []string {
	p := next.Policy
	if k := next.CurrentAt(now.Add(time.Second)); k != nil {
		return []string{fmt.Sprintf("signs now: %s; every replica does so from %s on",
			k.ID(), formatTime(now.Add(p.Propagation+p.Skew)))}
	}
	return []string{"nothing signs now; creating sessions answers 503 until a key may"}
}

// costs says what dies with the keys that next revokes.
func costs(old, next *keys.Manifest, now time.Time) []string {
	before := byID(old)
	var notes []string
	for _, k := range next.Keys {
		if was := before[k.ID()]; k.RevokedAt.IsZero() || was == nil || !was.RevokedAt.IsZero() {
			continue
		}
		from, expiry, alive := old.TokensOf(before[k.ID()], now)
		switch {
		case !alive:
			notes = append(notes, fmt.Sprintf("cost of %s: none; no session of it is alive", k.ID()))
		case from.IsZero():
			notes = append(notes, fmt.Sprintf("cost of %s: the sessions of the issuer that it came from, which end by %s", k.ID(), formatTime(expiry)))
		default:
			notes = append(notes, fmt.Sprintf("cost of %s: the sessions it signed since %s die; they would have ended by %s",
				k.ID(), formatTime(from), formatTime(expiry)))
		}
	}
	if len(notes) == 0 {
		return nil
	}
	notes = append(notes, fmt.Sprintf("every consumer refuses them from %s on (propagation + cache + skew), most of them earlier",
		formatTime(next.Policy.RefusedFrom(now))))
	return append(notes, whoSigns(old, next, now)...)
}
