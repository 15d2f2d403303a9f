package command

import (
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
)

func newConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "config",
		GroupID: "tools",
		Short:   "Print the settings that serve reads",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return issuer.WriteSettings(cmd.OutOrStdout())
		},
	}
}
