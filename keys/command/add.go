package command

import (
	"context"
	"flag"
	"time"

	"github.com/customersession/customersession/keys"
)

func runAdd(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	var device device
	device.flags(flags, "a key")
	if _, err := Parse(flags, args, 0); err != nil {
		return err
	}
	if len(device.signers) > 1 {
		return Misused("keys add takes one --signer; run it once for each")
	}
	remotes, err := device.remotes(ctx, flags)
	if err != nil {
		return err
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		if len(remotes) == 0 {
			return keys.Add(m, now, nil)
		}
		return keys.Add(m, now, &remotes[0])
	}, nil)
}
