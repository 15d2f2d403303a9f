package command

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

func newInitCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the first manifest",
		Long: `Make the first manifest, with one key that will sign and one to take over from it.

No key signs until every consumer's cache can hold it. On the first day of an
issuer no consumer exists yet, and --bootstrap lets the first key sign immediately.

An existing manifest is never overwritten. That is an error, or with --if-missing
a success, for a job that runs again.`,
		Example: `  customersession keys init --file keys.json --bootstrap
  customersession keys init --kubernetes-secret sessions/customersession-keys --if-missing`,
	}
	i := &initializer{writer: newWriter(cmd, getenv), policy: keys.DefaultPolicy()}
	cmd.Flags().BoolVar(&i.bootstrap, "bootstrap", false, "let the first key sign immediately; safe only when no consumer has fetched keys of this issuer before")
	cmd.Flags().BoolVar(&i.ifMissing, "if-missing", false, "if there is a manifest already, check and keep it, and exit with 0")
	policyFlags(cmd, &i.policy)
	i.device.flags(cmd, "`URI` of the first key in a device; repeat it for the next one")
	cmd.RunE = func(*cobra.Command, []string) error { return i.run() }
	return cmd
}

// An initializer makes a first manifest.
type initializer struct {
	*writer

	bootstrap bool
	ifMissing bool
	policy    keys.Policy
	device    device
}

func (i *initializer) run() error {
	ctx := i.cmd.Context()
	store, err := i.store()
	if err != nil {
		return err
	}
	switch m, _, err := store.Read(ctx); {
	case err == nil && i.ifMissing:
		return i.keep(store, m)
	case err == nil:
		return fmt.Errorf("%s exists already; a manifest is never overwritten, because tokens of its keys may still be valid", store)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	remotes, err := i.device.remotes(i.cmd)
	if err != nil {
		return err
	}
	if i.dryRun && len(remotes) == 0 {
		remotes = make([]keys.Key, 2) // no keys to throw away
	}
	now := time.Now()
	m, err := keys.Init(i.policy, now, i.bootstrap, remotes...)
	if err != nil {
		return misused(i.cmd, "%w", err)
	}
	if !i.dryRun {
		err = store.Write(ctx, m, "")
	}
	if i.ifMissing && errors.Is(err, fs.ErrExist) {
		// Another one was faster: keep what it made.
		if m, _, err = store.Read(ctx); err == nil {
			return i.keep(store, m)
		}
	}
	if err != nil {
		return err
	}
	r := newReport(store.String(), nil, m, now, i.dryRun)
	if len(i.device.signers) == 0 {
		r.Notes = append(r.Notes, "it holds private keys: keep it secret, and keep a backup where only you can read it")
	}
	return i.print(r)
}

// keep reports that there is a manifest, which stays.
func (i *initializer) keep(store manifestStore, m *keys.Manifest) error {
	now := time.Now()
	if err := fromFuture(m, now); err != nil {
		return err
	}
	r := newReport(store.String(), m, m, now, i.dryRun)
	r.why = "there is a manifest already"
	return i.print(r)
}
