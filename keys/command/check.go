package command

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

var errUnsafe = errors.New("the step is unsafe; do not publish it")

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check OLD NEW",
		Short: "Check whether one manifest may follow another",
		Long: `Check whether publishing the manifest NEW is safe where OLD is in use. When it
is not, the exit code is 1, and each problem is printed with its remedy.

OLD and NEW are files; - reads standard input.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("keys check needs two files, OLD and NEW; - is standard input")
			}
			return nil
		},
	}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		var versions [2]*keys.Manifest
		for i, name := range files {
			data, err := readInput(cmd, name)
			if err == nil {
				versions[i], err = keys.ParseManifest(data)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		verdict := keys.Check(versions[0], versions[1], time.Now())
		if err := printVerdict(cmd.OutOrStdout(), verdict, *asJSON); err != nil {
			return err
		}
		if verdict.Err() != nil {
			return errUnsafe
		}
		return nil
	}
	return cmd
}

func printVerdict(w io.Writer, verdict keys.Verdict, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(w, verdict)
		return err
	}
	findings := []finding{}
	for _, f := range verdict {
		findings = append(findings, newFinding(f))
	}
	return printJSON(w, map[string]any{"safe": verdict.Err() == nil, "findings": findings})
}
