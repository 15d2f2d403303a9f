package command

import (
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/release"
)

func newVersionCommand(running release.Binary) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version [FILE]",
		GroupID: "tools",
		Short:   "Print version and commit of this binary or of one in a file",
		Args:    cobra.MaximumNArgs(1),
	}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	sbom := cmd.Flags().Bool("sbom", false, "print the software bill of materials, CycloneDX 1.6 JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) (err error) {
		binary := running
		if len(files) == 1 {
			if binary, err = release.Open(files[0]); err != nil {
				return err
			}
		}
		switch {
		case *sbom && *asJSON:
			return misused(cmd, "--sbom is JSON already; leave --json out")
		case *sbom:
			return binary.WriteSBOM(cmd.OutOrStdout())
		case *asJSON:
			return printJSON(cmd.OutOrStdout(), binary.Build)
		default:
			return binary.Build.Write(cmd.OutOrStdout())
		}
	}
	return cmd
}
