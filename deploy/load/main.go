// Command load measures a running server: how many sessions it creates and JWK
// Sets it answers in a second, and how long that takes. The same goes, taking
// turns, to a bare Echo handler that it starts, because the ratio is what can
// be compared between machines. README.md says how to use it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	err := runMain(context.Background())
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1) //nolint:forbidigo // the end of this program
	}
}

func runMain(ctx context.Context) error {
	if len(os.Args) == 2 && os.Args[1] == bareArgument {
		return serveBare(ctx, os.Stdin, os.Stdout)
	}
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, out, talk io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	o, err := parseOptions(args, talk)
	if err != nil {
		return err
	}
	calls, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	bare, err := startBare(ctx, calls)
	if err != nil {
		return err
	}
	results := measure(ctx, o, calls, bare.base)
	if err := errors.Join(ctx.Err(), bare.stop()); err != nil {
		return err
	}
	return report(out, results)
}
