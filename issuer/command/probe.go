package command

import (
	"context"
	"flag"
	"time"

	"github.com/customersession/customersession/issuer/internal/probe"
	"github.com/customersession/customersession/keys/command"
)

func runProbe(ctx context.Context, _ command.Env, flags *flag.FlagSet, args []string) error {
	url := flags.String("url", probe.DefaultURL, "`URL` of the readiness to ask for")
	timeout := flags.Duration("timeout", 2*time.Second, "how long to wait for the answer")
	if err := parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return probe.Ready(ctx, *url)
}
