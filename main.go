// Command customersession issues customer sessions: signed links into a
// customer portal that any service can verify without a look-up.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	issuercommand "github.com/customersession/customersession/issuer/command"
	keyscommand "github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/verify/authz"
)

func main() {
	// The Kubernetes client logs to standard error what its errors say as well.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "customersession:", strings.Map(printable, err.Error()))
	}
	os.Exit(exitCode(err))
}

// printable replaces what a terminal might obey: an error may quote the peer of a
// connection, such as a name in its certificate.
func printable(r rune) rune {
	if unicode.IsPrint(r) || r == '\n' || r == '\t' {
		return r
	}
	return unicode.ReplacementChar
}

// exitCode: 0 done, 1 failed, 2 misused.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

func run(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal a second one ends the process immediately.
	context.AfterFunc(ctx, stop)
	root := newCommand() //nolint:contextcheck // cobra hands the context to each command
	root.SetArgs(keyscommand.ProtectKeyIDs(root, args))
	return root.ExecuteContext(ctx)
}

// What the linker writes where there is no repository to read it from, as in
// the build of an image:
//
//	-ldflags "-X main.linkedVersion=v1.2.3 -X main.linkedCommit=HASH"
var linkedVersion, linkedCommit string //nolint:gochecknoglobals // the linker can write nothing else

// newCommand returns the tree of all commands.
func newCommand() *cobra.Command {
	build := issuercommand.ReadBuild(linkedVersion, linkedCommit)
	root := &cobra.Command{
		Use:           "customersession",
		Short:         "Customer sessions: signed links into a portal, verified without a look-up",
		Version:       build.Version,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
	}
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "keys", Title: "Keys:"},
		&cobra.Group{ID: "sessions", Title: "Sessions:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	authzCommand, keysCommand := authz.NewCommand(build.String()), keyscommand.New(os.Getenv)
	authzCommand.GroupID, keysCommand.GroupID = "run", "keys"
	root.AddCommand(issuercommand.New(build)...)
	root.AddCommand(authzCommand, keysCommand)
	root.SetHelpCommandGroupID("tools")
	root.SetCompletionCommandGroupID("tools")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(flagError)
	// Cobra's own template, but for groups, which only show help, and long lines.
	root.SetUsageTemplate(strings.NewReplacer(
		"{{if .Runnable}}", "{{if and .Runnable (not .HasSubCommands)}}",
		".FlagUsages ", ".FlagUsagesWrapped 100 ",
	).Replace(root.UsageTemplate()))
	guard(root)
	return root
}

// guard makes cmd, and all commands below it, refuse arguments that they do not
// ask for. A group of commands shows its help, but for a misspelt command only
// a suggestion.
func guard(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case cmd.HasSubCommands():
		cmd.SuggestionsMinimumDistance = 2
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		check = refuseUnknown
	case cmd.Name() == "help":
		check = refuseUnknownTopic
	case check == nil:
		check = refuseArguments
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return newUsageError(cmd, err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		guard(sub)
	}
}

func refuseArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument %q", cmd.Name(), args[0])
	}
	return nil
}

func refuseUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	similar := cmd.SuggestionsFor(args[0])
	if len(similar) == 0 {
		for _, sub := range cmd.Commands() {
			for _, name := range sub.SuggestionsFor(args[0]) {
				similar = append(similar, sub.Name()+" "+name)
			}
		}
	}
	if len(similar) == 0 {
		return fmt.Errorf("unknown command %q", args[0])
	}
	return fmt.Errorf("unknown command %q; did you mean %s?", args[0], strings.Join(similar, " or "))
}

func refuseUnknownTopic(help *cobra.Command, args []string) error {
	cmd, rest, err := help.Root().Find(args)
	if err == nil && cmd.HasSubCommands() {
		err = refuseUnknown(cmd, rest)
	}
	return err
}

// flagError turns an error in a flag, found by cobra or by the command itself,
// into a usage error.
func flagError(cmd *cobra.Command, err error) error {
	// After a misspelt command its flags are unknown, too.
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		err = refuseUnknown(cmd, cmd.Flags().Args())
	}
	return newUsageError(cmd, err)
}

// A usageError is a mistake in how the program was called.
type usageError struct {
	err     error
	command string // whose help explains it
}

func newUsageError(cmd *cobra.Command, err error) error {
	return usageError{err: err, command: cmd.CommandPath()}
}

func (e usageError) Error() string {
	return fmt.Sprintf("%v\nRun '%s --help' for usage.", e.err, e.command)
}

func (e usageError) Unwrap() error { return e.err }
