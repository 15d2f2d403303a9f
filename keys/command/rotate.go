package command

import (
	"context"
	"flag"
	"fmt"
	"strings"
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
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		ids, err := resolveAll(m, rest)
		if err != nil {
			return nil, err
		}
		// None means the first next key.
		return keys.Activate(m, now, strings.Join(ids, ""))
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
	inFile := flags.Bool("all-in-file", false, "revoke every key whose private part is in the manifest, as when that was stolen")
	rest, err := Parse(flags, args, -1)
	if err != nil {
		return err
	}
	if (len(rest) == 0) != *inFile {
		return Misused("keys revoke needs the key IDs of what to revoke, or --all-in-file; keys status lists them")
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		ids, err := resolveAll(m, rest)
		if err != nil {
			return nil, err
		}
		if *inFile {
			ids = secrets(m)
		}
		return keys.Revoke(m, now, ids...)
	}, costs)
}

// secrets returns the IDs of the keys that whoever has the manifest can sign
// with.
func secrets(m *keys.Manifest) []string {
	var ids []string
	for _, k := range m.Keys {
		if k.Private != nil {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// whoSigns says which key signs and which one takes over soon.
func whoSigns(old, next *keys.Manifest, now time.Time) []string {
	p := next.Policy
	notes := []string{"signs now: nothing; creating sessions answers 503 until a key may sign"}
	current, before := next.CurrentAt(now), old.CurrentAt(now)
	switch {
	case current == nil:
	case before != nil && before.ID() == current.ID():
		notes[0] = fmt.Sprintf("signs now: %s, as before", short(next, current.ID()))
	default:
		notes[0] = fmt.Sprintf("signs now: %s, on every replica from %s on",
			short(next, current.ID()), formatTime(now.Add(p.Propagation+p.Skew)))
	}
	// What is further away than the lead is the plan, and no news.
	for t := now; !t.IsZero() && t.Before(now.Add(p.Propagation+p.Cache+p.Skew+time.Minute)); t = next.NextEvent(t) {
		if k := next.CurrentAt(t); k != nil && k != current {
			return append(notes, fmt.Sprintf("takes over: %s, at %s, when every cache can hold it",
				short(next, k.ID()), formatTime(k.ActivateAt)))
		}
	}
	return notes
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
		id := short(next, k.ID())
		switch {
		case !alive:
			notes = append(notes, fmt.Sprintf("cost of %s: none; no session of it is alive", id))
		case from.IsZero():
			notes = append(notes, fmt.Sprintf("cost of %s: the sessions of the issuer that it came from, which end by %s", id, formatTime(expiry)))
		default:
			notes = append(notes, fmt.Sprintf("cost of %s: the sessions it signed since %s die; they would have ended by %s",
				id, formatTime(from), formatTime(expiry)))
		}
	}
	if len(notes) == 0 {
		return nil
	}
	notes = append(notes, fmt.Sprintf("every consumer refuses them from %s on (propagation + cache + skew), most of them earlier",
		formatTime(next.Policy.RefusedFrom(now))))
	return append(notes, whoSigns(old, next, now)...)
}
