package command

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/customersession/customersession/keys"
)

func runAdd(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	signer := flags.String("signer", "", "`URI` of a key in a device, such as pkcs11:token=sessions;object=2026, instead of a new one")
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	if *signer != "" {
		return errors.New("not yet")
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		return keys.Add(m, now, *signer, nil)
	}, nil)
}
