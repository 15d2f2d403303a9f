// Command customersession issues customer sessions: signed links into a
// customer portal that any service can verify without a look-up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	servercommand "github.com/customersession/customersession/issuer/command"
	"github.com/customersession/customersession/keys/command"
)

func main() {
	// The Kubernetes client logs to standard error what its errors say as well.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	err := run(context.Background(), os.Args[1:], command.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
	})
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "customersession:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode: 0 done, 1 failed, 2 misused.
func exitCode(err error) int {
	var usage command.UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

func commands() []command.Command {
	return slices.Insert(servercommand.All(linkedVersion, linkedCommit), 3, command.All()...)
}

func run(ctx context.Context, args []string, env command.Env) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	for _, c := range commands() {
		words := strings.Fields(c.Name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		flags.SetOutput(env.Err)
		flags.Usage = func() {
			fmt.Fprintf(env.Err, "usage: customersession %s %s\n\n%s\n", c.Name, c.Args, c.Short)
			flags.PrintDefaults()
		}
		return c.Run(ctx, env, flags, args[len(words):])
	}
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		printHelp(env.Out)
		return nil
	}
	printHelp(env.Err)
	return command.Misused("unknown command %q", args[0])
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, "Customer sessions: signed links into a portal, verified without a look-up.\n\nusage: customersession COMMAND\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.Name, c.Short)
	}
	fmt.Fprint(w, "\ncustomersession COMMAND -h tells more.\n")
}

// What the linker writes where there is no repository to read it from, as in
// the build of an image:
//
//	-ldflags "-X main.linkedVersion=v1.2.3 -X main.linkedCommit=HASH"
var linkedVersion, linkedCommit string //nolint:gochecknoglobals // the linker can write nothing else
