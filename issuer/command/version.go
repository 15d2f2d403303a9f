package command

import (
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/release"
)

func newVersionCommand(build release.Build) *cobra.Command {
	cmd := &cobra.Command{Use: "version", GroupID: "tools", Short: "Print version, commit, Go version and platform"}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), build)
		}
		return build.Write(cmd.OutOrStdout())
	}
	return cmd
}
