package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/probe"
)

func newProbeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "probe",
		GroupID: "run",
		Short:   "Ask a running server whether it is ready",
		Long: `Ask a running server whether it is ready: a health check for images without a
shell. The exit code is 0 when it is, and 1, with the reasons, when it is not.`,
	}
	url := cmd.Flags().String("url", probe.DefaultURL, "`URL` of the server's readiness")
	timeout := cmd.Flags().Duration("timeout", 2*time.Second, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		return probe.Ready(ctx, *url)
	}
	return cmd
}
