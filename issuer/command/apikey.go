package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

func newAPIKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "apikey", GroupID: "keys", Short: "Make API keys for organizations"}
	cmd.AddCommand(newAPIKeyNewCommand())
	return cmd
}

func newAPIKeyNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --name NAME",
		Short: "Make an API key for an organization",
		Long: `Make an API key: print its secret, which is shown only once, and the entry for
api_keys of the organization, which holds only the hash of the secret.`,
		Example: "  customersession apikey new --name checkout --expires-in 2160h",
	}
	name := cmd.Flags().String("name", "", "`name` of the key, unique in its organization (required)")
	scopes := cmd.Flags().StringSlice("scope", []string{string(organizations.ScopeWrite)},
		"comma-separated `scopes`: customer_sessions:write, customer_sessions:introspect")
	lasts := cmd.Flags().Duration("expires-in", 0, "how long the key is valid, such as 2160h (default without end)")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []organizations.Scope
		for _, scope := range *scopes {
			list = append(list, organizations.Scope(strings.TrimSpace(scope)))
		}
		var expires time.Time
		if *lasts != 0 {
			expires = time.Now().Add(*lasts)
		}
		secret, entry, err := organizations.NewAPIKey(*name, list, expires)
		if err != nil {
			return misused(cmd, "%w", err)
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return json.NewEncoder(out).Encode(map[string]any{"secret": secret.Reveal(), "entry": json.RawMessage(entry)})
		}
		_, err = fmt.Fprintf(out, "Secret, shown only now; give it to the service that creates sessions:\n\n  %s\n\n"+
			"Add this to api_keys of the organization:\n\n%s\n", secret.Reveal(), entry)
		return err
	}
	return cmd
}
