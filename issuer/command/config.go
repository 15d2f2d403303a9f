package command

import (
	"context"
	"flag"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/command"
)

func runConfig(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	if err := parse(flags, args); err != nil {
		return err
	}
	return issuer.WriteSettings(env.Out)
}
