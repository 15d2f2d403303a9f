package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// policyFlags makes flags that change p. Changed reports whether any was given.
func policyFlags(flags *flag.FlagSet, p *keys.Policy) (changed func() bool) {
	names := map[string]bool{}
	add := func(name, usage string, set func(string) error) {
		names[name] = true
		flags.Func(name, usage, set)
	}
	add("algorithm", "`algorithm` of new keys: ES256, EdDSA or RS256 (default ES256)", func(value string) error {
		p.Algorithm = jwk.Algorithm(value)
		if !p.Algorithm.Known() {
			return errors.New("it is not ES256, EdDSA or RS256")
		}
		return nil
	})
	for _, d := range durations(p) {
		add(d.name, fmt.Sprintf("%s, such as %v `(duration)`", d.usage, *d.value), func(text string) error {
			value, err := time.ParseDuration(text)
			if err != nil {
				return errors.New(`write it like "1h30m"`)
			}
			*d.value = value
			return nil
		})
	}
	return func() (changed bool) {
		flags.Visit(func(f *flag.Flag) { changed = changed || names[f.Name] })
		return changed
	}
}

type duration struct {
	name, usage string
	value       *time.Duration
}

func durations(p *keys.Policy) []duration {
	return []duration{
		{"propagation", "worst time for a new manifest to reach every replica", &p.Propagation},
		{"cache", "worst age of a consumer's JWK Set", &p.Cache},
		{"skew", "worst difference between two clocks", &p.Skew},
		{"max-lifetime", "longest session", &p.MaxLifetime},
		{"lease", "how long a key may sign after the last rotate", &p.Lease},
		{"rotation-period", "how long a key is the current one", &p.RotationPeriod},
	}
}

func runPolicy(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	// Flags are read before the manifest is: they are kept, and applied to
	// the policy that is there.
	var given keys.Policy
	changed := policyFlags(flags, &given)
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	if !changed() {
		return w.showPolicy(ctx)
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		return keys.SetPolicy(m, now, merge(m.Policy, given, flags))
	}, policyChanges)
}

// policyChanges says what differs between the policies of two versions.
func policyChanges(old, next *keys.Manifest, _ time.Time) []string {
	var notes []string
	if from, to := old.Policy.Algorithm, next.Policy.Algorithm; from != to {
		notes = append(notes, fmt.Sprintf("algorithm: %s, was %s", to, from))
	}
	before := durations(&old.Policy)
	for i, d := range durations(&next.Policy) {
		if *d.value != *before[i].value {
			notes = append(notes, fmt.Sprintf("%s: %v, was %v", d.name, *d.value, *before[i].value))
		}
	}
	return notes
}

// merge takes from given what flags say was given.
func merge(p, given keys.Policy, flags *flag.FlagSet) keys.Policy {
	to, from := durations(&p), durations(&given)
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "algorithm" {
			p.Algorithm = given.Algorithm
		}
		for i := range to {
			if to[i].name == f.Name {
				*to[i].value = *from[i].value
			}
		}
	})
	return p
}

func (w *writer) showPolicy(ctx context.Context) error {
	store, err := w.place.store(w.flags, w.env)
	if err != nil {
		return err
	}
	m, _, err := store.Read(ctx)
	if err != nil {
		return err
	}
	if w.asJSON {
		policy := map[string]string{"algorithm": string(m.Policy.Algorithm)}
		for _, d := range durations(&m.Policy) {
			policy[d.name] = d.value.String()
		}
		return PrintJSON(w.env.Out, policy)
	}
	fmt.Fprintf(w.env.Out, "%-15s  %-9s  %s\n", "algorithm", m.Policy.Algorithm, "of new keys")
	for _, d := range durations(&m.Policy) {
		fmt.Fprintf(w.env.Out, "%-15s  %-9v  %s\n", d.name, *d.value, d.usage)
	}
	return nil
}
