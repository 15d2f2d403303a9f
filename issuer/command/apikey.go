package command

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/orgfile"
	"github.com/customersession/customersession/issuer/internal/secret"
)

func newAPIKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "apikey", GroupID: "keys", Short: "Make, list and remove API keys of organizations"}
	cmd.AddCommand(newAPIKeyNewCommand(), newAPIKeyListCommand(), newAPIKeyRemoveCommand())
	return cmd
}

// An organizationPlace is where a command finds an organization.
type organizationPlace struct {
	cmd                *cobra.Command
	file, organization *string
}

// newOrganizationPlace gives cmd the flag that names the organizations file.
func newOrganizationPlace(cmd *cobra.Command) organizationPlace {
	return organizationPlace{cmd: cmd, file: cmd.Flags().String("file", "", "organizations `file`")}
}

// withOrganization adds the flag that names an organization of the file.
func (p organizationPlace) withOrganization() organizationPlace {
	p.organization = p.cmd.Flags().String("organization", "", "`slug` or ID of the organization (default the only one of the file)")
	return p
}

// needed returns a misuse if the file is not named.
func (p organizationPlace) needed() error {
	if *p.file == "" {
		return misused(p.cmd, "%s %s needs --file FILE", p.cmd.Parent().Name(), p.cmd.Name())
	}
	return nil
}

// read returns what is in the file.
func (p organizationPlace) read() (*organizations.Registry, error) {
	if err := p.needed(); err != nil {
		return nil, err
	}
	document, err := orgfile.Read(*p.file)
	if err != nil {
		return nil, err
	}
	return document.Registry(), nil
}

// talk prints a line for people, which is not a result.
func (p organizationPlace) talk(format string, args ...any) {
	fmt.Fprintf(p.cmd.ErrOrStderr(), format+"\n", args...)
}

// A newKey is an API key that was made.
type newKey struct {
	secret secret.Text
	entry  []byte
	// owner and clientID are known for a key that is in a file.
	owner    *organizations.Organization
	clientID string
}

func newAPIKeyNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --name NAME",
		Short: "Make an API key for an organization",
		Long: `Make an API key: print its secret, which is shown only once, and the entry for
api_keys of the organization, which holds only the hash of the secret. With
--file, add the entry to the organizations file.`,
		Example: `  customersession apikey new --name checkout --expires-in 2160h
  customersession apikey new --name checkout --file organizations.json --organization acme`,
	}
	name := cmd.Flags().String("name", "", "`name` of the key, unique in its organization (required)")
	scopes := cmd.Flags().StringSlice("scope", []string{string(organizations.ScopeWrite)},
		"comma-separated `scopes`: customer_sessions:write, customer_sessions:introspect, customer_sessions:revoke, customer_sessions:exchange")
	lasts := cmd.Flags().Duration("expires-in", 0, "how long the key is valid, such as 2160h (default without end)")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	place := newOrganizationPlace(cmd).withOrganization()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *place.file == "" && *place.organization != "" {
			return misused(cmd, "--organization is set, but --file is not")
		}
		var list []organizations.Scope
		for _, scope := range *scopes {
			list = append(list, organizations.Scope(strings.TrimSpace(scope)))
		}
		var expires time.Time
		if *lasts != 0 {
			expires = time.Now().Add(*lasts)
		}
		var made newKey
		var err error
		if made.secret, made.entry, err = organizations.NewAPIKey(*name, list, expires); err != nil {
			return misused(cmd, "%w", err)
		}
		if *place.file != "" {
			if err := place.addKey(*name, &made); err != nil {
				return err
			}
		}
		err = made.print(cmd.OutOrStdout(), *asJSON)
		if err != nil && made.owner != nil {
			return fmt.Errorf("the secret was not shown (%w), but %s has the key now: run apikey remove --name %q, and make another", err, *place.file, *name)
		}
		return err
	}
	return cmd
}

// addKey adds a key to the file.
func (p organizationPlace) addKey(name string, made *newKey) error {
	err := orgfile.Edit(p.cmd.Context(), *p.file, func(d *orgfile.Document) (err error) {
		if err := d.AddAPIKey(*p.organization, made.entry); err != nil {
			return err
		}
		made.owner, err = d.Organization(*p.organization)
		return err
	})
	if err != nil {
		return err
	}
	for key := range made.owner.APIKeys() {
		if key.Name == name {
			made.clientID = key.ClientID
		}
	}
	p.talk("%s: %s has the API key %s now; tokens name it by the client ID %s", *p.file, made.owner.Slug, name, made.clientID)
	return nil
}

// print prints the key, the only time.
func (k *newKey) print(w io.Writer, asJSON bool) error {
	if asJSON {
		members := map[string]any{"secret": k.secret.Reveal(), "entry": json.RawMessage(k.entry)}
		if k.owner != nil {
			members["organization_id"], members["client_id"] = k.owner.ID, k.clientID
		}
		return json.NewEncoder(w).Encode(members)
	}
	_, err := fmt.Fprintf(w, "Secret, shown only now; give it to the service that uses it:\n\n  %s\n", k.secret.Reveal())
	if k.owner == nil && err == nil {
		_, err = fmt.Fprintf(w, "\nAdd this to api_keys of the organization:\n\n%s\n", k.entry)
	}
	return err
}

// A listedKey is an API key as apikey list shows it.
type listedKey struct {
	Organization   string                `json:"organization"`
	OrganizationID string                `json:"organization_id"`
	Name           string                `json:"name"`
	ClientID       string                `json:"client_id"`
	Scopes         []organizations.Scope `json:"scopes"`
	ExpiresAt      *time.Time            `json:"expires_at"`
	Expired        bool                  `json:"expired"`
}

func newAPIKeyListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --file FILE",
		Short: "List the API keys of an organizations file",
		Long: `List the API keys of an organizations file. Tokens and the log name a key by its
client ID, which says nothing about the secret.`,
		Example: "  customersession apikey list --file organizations.json",
	}
	place := newOrganizationPlace(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		registry, err := place.read()
		if err != nil {
			return err
		}
		list := listKeys(registry, time.Now())
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printKeys(cmd.OutOrStdout(), list)
	}
	return cmd
}

func listKeys(registry *organizations.Registry, now time.Time) []listedKey {
	list := []listedKey{}
	for organization := range registry.Organizations() {
		for key := range organization.APIKeys() {
			listed := listedKey{
				Organization: organization.Slug, OrganizationID: organization.ID.String(),
				Name: key.Name, ClientID: key.ClientID, Scopes: slices.Collect(key.Scopes()),
			}
			if !key.ExpiresAt.IsZero() {
				listed.ExpiresAt, listed.Expired = &key.ExpiresAt, !now.Before(key.ExpiresAt)
			}
			list = append(list, listed)
		}
	}
	return list
}

func printKeys(w io.Writer, list []listedKey) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ORGANIZATION\tNAME\tCLIENT ID\tSCOPES\tEXPIRES")
	for _, key := range list {
		expires := "never"
		if key.ExpiresAt != nil {
			expires = key.ExpiresAt.Format(time.RFC3339)
		}
		if key.Expired {
			expires += " (expired)"
		}
		var scopes []string
		for _, scope := range key.Scopes {
			scopes = append(scopes, string(scope))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", key.Organization, key.Name, key.ClientID, strings.Join(scopes, ","), expires)
	}
	return table.Flush()
}

func newAPIKeyRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove --file FILE --name NAME",
		Short: "Remove an API key from an organizations file",
		Long: `Remove an API key from an organizations file. Servers refuse its secret as soon as
they have the new file. Sessions that it created stay valid until they expire.`,
		Example: "  customersession apikey remove --file organizations.json --organization acme --name checkout",
	}
	name := cmd.Flags().String("name", "", "`name` of the key (required)")
	place := newOrganizationPlace(cmd).withOrganization()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := place.needed(); err != nil {
			return err
		}
		if *name == "" {
			return misused(cmd, "apikey remove needs --name NAME")
		}
		left := 0
		err := orgfile.Edit(cmd.Context(), *place.file, func(d *orgfile.Document) error {
			err := d.RemoveAPIKey(*place.organization, *name)
			left = len(listKeys(d.Registry(), time.Now()))
			return err
		})
		if err != nil {
			return err
		}
		place.talk("%s: removed the API key %s", *place.file, *name)
		if left == 0 {
			place.talk("it was the only one: a running server keeps it until SIGHUP or a restart, in case that is a mistake")
		}
		return nil
	}
	return cmd
}
