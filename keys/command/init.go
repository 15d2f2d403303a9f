package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"time"

	"github.com/customersession/customersession/keys"
)

func runInit(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	bootstrap := flags.Bool("bootstrap", false, "let the first key sign at once; safe only when no consumer has fetched keys of this issuer before")
	policy := keys.DefaultPolicy()
	policyFlags(flags, &policy)
	var device device
	device.flags(flags, "the first key, and given once more, of the next one,")
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	store, err := w.place.store(flags, env)
	if err != nil {
		return err
	}
	switch _, _, err := store.Read(ctx); {
	case err == nil:
		return fmt.Errorf("%s is there already; a key set is never overwritten, as tokens of its keys may be alive", store)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	remotes, err := device.remotes(ctx, flags)
	if err != nil {
		return err
	}
	if w.dryRun && len(remotes) == 0 {
		remotes = make([]keys.Remote, 2) // no keys to throw away
	}
	now := time.Now()
	m, err := keys.Init(policy, now, *bootstrap, remotes...)
	if err != nil {
		return UsageError{Err: err}
	}
	if !w.dryRun {
		if err := store.Write(ctx, m, ""); err != nil {
			return err
		}
	}
	r := newReport(store.String(), nil, m, now, w.dryRun)
	if len(device.signers) == 0 {
		r.Notes = append(r.Notes, "it holds private keys: keep it secret, and keep a copy where nobody else gets at it")
	}
	return w.print(r)
}
