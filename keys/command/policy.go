package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// policyFlags gives cmd the flags that change p.
func policyFlags(cmd *cobra.Command, p *keys.Policy) {
	cmd.Flags().Func("algorithm", "`algorithm` of new keys: ES256 (the default), EdDSA or RS256", func(value string) error {
		p.Algorithm = jwk.Algorithm(value)
		if !p.Algorithm.Known() {
			return errors.New("it is not ES256, EdDSA or RS256")
		}
		return nil
	})
	for _, d := range durations(p) {
		cmd.Flags().DurationVar(d.value, d.name, *d.value, d.usage)
	}
}

type duration struct {
	name, usage string
	value       *time.Duration
}

func durations(p *keys.Policy) []duration {
	return []duration{
		{"propagation", "longest time that a new manifest takes to reach every replica", &p.Propagation},
		{"cache", "longest time that a consumer caches the JWK Set", &p.Cache},
		{"skew", "largest difference between two clocks", &p.Skew},
		{"max-lifetime", "longest session", &p.MaxLifetime},
		{"lease", "how long a key may sign after the last rotate", &p.Lease},
		{"rotation-period", "how long each key is the current one", &p.RotationPeriod},
	}
}

func newPolicyCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show or change the policy",
		Long:  "Show the policy, or change those of its members that flags give.",
		Example: `  customersession keys policy --file keys.json
  customersession keys policy --file keys.json --algorithm EdDSA`,
	}
	w := newChanger(cmd, getenv)
	// The flags come before the manifest: what they give is kept here, and then
	// merged into the policy of the manifest.
	var given keys.Policy
	policyFlags(cmd, &given)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		changed := cmd.Flags().Changed
		if merge(keys.Policy{}, given, changed) == (keys.Policy{}) {
			return w.showPolicy()
		}
		return w.change(cmd.Context(), func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
			return keys.SetPolicy(m, now, merge(m.Policy, given, changed))
		}, policyChanges)
	}
	return cmd
}

// policyChanges lists what differs between the policies of two versions.
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

// merge returns p with those members of given that changed reports.
func merge(p, given keys.Policy, changed func(name string) bool) keys.Policy {
	if changed("algorithm") {
		p.Algorithm = given.Algorithm
	}
	from := durations(&given)
	for i, d := range durations(&p) {
		if changed(d.name) {
			*d.value = *from[i].value
		}
	}
	return p
}

func (w *writer) showPolicy() error {
	m, _, err := w.read(w.cmd.Context())
	if err != nil {
		return err
	}
	out := w.cmd.OutOrStdout()
	if w.asJSON {
		policy := map[string]string{"algorithm": string(m.Policy.Algorithm)}
		for _, d := range durations(&m.Policy) {
			policy[d.name] = d.value.String()
		}
		return printJSON(out, policy)
	}
	fmt.Fprintf(out, "%-15s  %-9s  %s\n", "algorithm", m.Policy.Algorithm, "of new keys")
	for _, d := range durations(&m.Policy) {
		fmt.Fprintf(out, "%-15s  %-9v  %s\n", d.name, *d.value, d.usage)
	}
	return nil
}
