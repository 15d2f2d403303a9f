package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

func newRotateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Do what is due: renew the lease, publish a next key, drop dead keys",
		Long: `Do what is due: renew the lease of the signing key, publish a next key, drop
keys whose tokens have expired. Run it daily; when nothing is due, it changes
nothing.

If it did not run for so long that a key would be dropped whose lease was never
renewed, the clock may be wrong: it refuses without --clock-checked.`,
		Example: `  customersession keys rotate --file keys.json
  customersession keys rotate --kubernetes-secret sessions/customersession-keys`,
	}
	w := newChanger(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return w.change(cmd.Context(), keys.Rotate, nil)
	}
	return cmd
}

func newActivateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "activate [KEY-ID]",
		Short: "Let a next key take over as soon as every cache can hold it",
		Long: `Let a next key take over as soon as every cache can hold it: the key named, or
the first next key.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("keys activate takes one key ID")
			}
			return nil
		},
		Annotations: map[string]string{takesKeyIDs: ""},
	}
	w := newChanger(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return w.change(cmd.Context(), func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
			ids, err := resolveAll(m, args)
			if err != nil {
				return nil, err
			}
			// None means the first next key.
			return keys.Activate(m, now, strings.Join(ids, ""))
		}, whoSigns)
	}
	return cmd
}

func newRollbackCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "rollback", Short: "Let the previous key sign again"}
	w := newChanger(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return w.change(cmd.Context(), keys.Rollback, whoSigns)
	}
	return cmd
}

func newRevokeCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke {KEY-ID… | --all-in-file}",
		Short: "Withdraw keys immediately and for good; a next key takes over",
		Long: `Withdraw keys immediately and for good; a next key takes over. Consumers refuse
the sessions that a revoked key signed. Use --dry-run first to see what that costs.`,
		Example: `  customersession keys revoke --file keys.json --dry-run NxYk3pQa
  customersession keys revoke --file keys.json --all-in-file`,
		Annotations: map[string]string{takesKeyIDs: ""},
	}
	w := newChanger(cmd, getenv)
	inFile := cmd.Flags().Bool("all-in-file", false, "revoke every key whose private key is in the manifest, when that was stolen")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if (len(args) == 0) != *inFile {
			return errors.New("keys revoke needs the IDs of the keys to revoke, or --all-in-file; keys status lists them")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return w.change(cmd.Context(), func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
			ids, err := resolveAll(m, args)
			if err != nil {
				return nil, err
			}
			if *inFile {
				ids = secrets(m)
			}
			return keys.Revoke(m, now, ids...)
		}, costs)
	}
	return cmd
}

// secrets returns the IDs of the keys whose private keys are in the manifest.
func secrets(m *keys.Manifest) []string {
	var ids []string
	for _, k := range m.Keys {
		if k.Private != nil {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// whoSigns names the key that signs and the one that takes over soon.
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
	// A takeover later than the lead is planned, and no news.
	soon := now.Add(p.Propagation + p.Cache + p.Skew + time.Minute)
	for _, k := range inOrder(next) {
		if k.ActivateAt.After(now) && k.ActivateAt.Before(soon) && next.CurrentAt(k.ActivateAt) == k {
			return append(notes, fmt.Sprintf("takes over: %s, at %s, when every cache can hold it",
				short(next, k.ID()), formatTime(k.ActivateAt)))
		}
	}
	return notes
}

// costs lists the sessions that end with the keys that next revokes.
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
		formatTime(now.Add(next.Policy.Propagation+next.Policy.Cache+next.Policy.Skew))))
	return append(notes, whoSigns(old, next, now)...)
}
