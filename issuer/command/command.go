// Package command has the commands of the issuer: those that run it, dev and
// serve, and those around it, such as config, apikey, organization, token and
// probe.
package command

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/release"
)

// ReadBuild returns what the running program was built from. Version and commit
// are what the linker wrote, for builds that have no repository.
func ReadBuild(version, commit string) release.Build {
	return release.Running(release.Linked{Version: version, Commit: commit})
}

// New returns the commands. Each is in one of the groups "run", "keys" and
// "tools".
func New(build release.Build) []*cobra.Command {
	return []*cobra.Command{
		newDevCommand(), newServeCommand(build), newProbeCommand(),
		newAPIKeyCommand(), newOrganizationCommand(), newRevokeCommand(), newRevocationsCommand(),
		newConfigCommand(), newTokenCommand(), newVersionCommand(build),
	}
}

// misused returns an error in how cmd was called, of the same type as one in
// its flags.
func misused(cmd *cobra.Command, format string, args ...any) error {
	return cmd.FlagErrorFunc()(cmd, fmt.Errorf(format, args...))
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
