package command

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const keysLong = `Make, rotate and inspect the keys that sign sessions.

The commands work on a manifest: in the file --file, or in the Kubernetes Secret
--kubernetes-secret. Without either, CUSTOMERSESSION_KEYS_FILE names the file. A
command that changes the manifest takes --dry-run.

Wherever a command asks for a key ID, its first 6 characters are enough.`

// New returns the command "keys". It reads the environment through getenv.
func New(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, rotate and inspect signing keys", Long: keysLong}
	add := func(id, title string, commands ...*cobra.Command) {
		cmd.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
		}
		cmd.AddCommand(commands...)
	}
	add("change", "Change the manifest:",
		newInitCommand(getenv), newRotateCommand(getenv), newActivateCommand(getenv), newRevokeCommand(getenv),
		newRollbackCommand(getenv), newAddCommand(getenv), newPolicyCommand(getenv), newImportCommand(getenv))
	add("inspect", "Inspect the manifest:",
		newStatusCommand(getenv), newCheckCommand(), newJWKSCommand(getenv), newExportCommand(getenv))
	return cmd
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
