package command

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/orgfile"
)

func newOrganizationCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "organization", GroupID: "keys", Short: "Add and list organizations"}
	cmd.AddCommand(newOrganizationAddCommand(), newOrganizationListCommand())
	return cmd
}

// An organizationEntry is an organization as the file holds it.
type organizationEntry struct {
	ID          string `json:"id"`
	Slug        string `json:"slug"`
	PortalURL   string `json:"portal_url"`
	Link        string `json:"link,omitempty"`
	EmailInLink bool   `json:"email_in_link,omitempty"`
	SupportURL  string `json:"support_url,omitempty"`

	Recovery *recoveryEntry `json:"recovery,omitempty"`
}

type recoveryEntry struct {
	WebhookURL string `json:"webhook_url,omitempty"`
	SecretFile string `json:"secret_file,omitempty"`
	MaxAge     string `json:"max_age,omitempty"`
}

func newOrganizationAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add --file FILE --slug SLUG --portal-url URL",
		Short: "Add an organization to an organizations file",
		Long: `Add an organization to an organizations file, which is made if it is missing, and
print its ID. Customers refer to the organization by this ID.`,
		Example: `  customersession organization add --file organizations.json --slug acme \
    --portal-url 'https://portal.example.com/{slug}/portal'`,
	}
	var entry organizationEntry
	var recovery recoveryEntry
	cmd.Flags().StringVar(&entry.Slug, "slug", "", "`name` of the organization in URLs: lower-case letters, digits and hyphens (required)")
	cmd.Flags().StringVar(&entry.PortalURL, "portal-url", "", "`URL` of its portal; {slug} and {organization_id} are filled in (required)")
	cmd.Flags().StringVar(&entry.ID, "id", "", "its `UUID` (default a random one)")
	cmd.Flags().StringVar(&entry.Link, "link", "", "`kind` of portal links: token or code (default token)")
	cmd.Flags().BoolVar(&entry.EmailInLink, "email-in-link", false, "add the customer's e-mail address to the portal link")
	cmd.Flags().StringVar(&entry.SupportURL, "support-url", "", "`URL` of a help page for its customers")
	cmd.Flags().StringVar(&recovery.WebhookURL, "recovery-webhook-url", "", "`URL` of the webhook that mails new links for expired ones")
	cmd.Flags().StringVar(&recovery.SecretFile, "recovery-secret-file", "", "`path` of the file with the webhook's secret")
	cmd.Flags().StringVar(&recovery.MaxAge, "recovery-max-age", "", "`duration` after its end in which a session can be recovered, at most 720h (default 168h)")
	place := newOrganizationPlace(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := place.needed(); err != nil {
			return err
		}
		if recovery != (recoveryEntry{}) {
			entry.Recovery = &recovery
		}
		if entry.Slug == "" || entry.PortalURL == "" {
			return misused(cmd, "organization add needs --slug SLUG and --portal-url URL")
		}
		if entry.ID == "" {
			entry.ID = uuid.NewString()
		}
		text, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		err = orgfile.EditOrCreate(cmd.Context(), *place.file, func(d *orgfile.Document) error { return d.AddOrganization(text) })
		if err != nil {
			return err
		}
		place.talk("%s: added the organization %s; its ID is", *place.file, entry.Slug)
		_, err = fmt.Fprintln(cmd.OutOrStdout(), entry.ID)
		return err
	}
	return cmd
}

// A listedOrganization is an organization as organization list shows it.
type listedOrganization struct {
	ID      string `json:"id"`
	Slug    string `json:"slug"`
	APIKeys int    `json:"api_keys"`
}

func newOrganizationListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list --file FILE",
		Short:   "List the organizations of an organizations file",
		Example: "  customersession organization list --file organizations.json",
	}
	place := newOrganizationPlace(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		registry, err := place.read()
		if err != nil {
			return err
		}
		list := listOrganizations(registry)
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printOrganizations(cmd.OutOrStdout(), list)
	}
	return cmd
}

func listOrganizations(registry *organizations.Registry) []listedOrganization {
	list := []listedOrganization{}
	for organization := range registry.Organizations() {
		listed := listedOrganization{ID: organization.ID.String(), Slug: organization.Slug}
		for range organization.APIKeys() {
			listed.APIKeys++
		}
		list = append(list, listed)
	}
	return list
}

func printOrganizations(w io.Writer, list []listedOrganization) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSLUG\tAPI KEYS")
	for _, organization := range list {
		fmt.Fprintf(table, "%s\t%s\t%d\n", organization.ID, organization.Slug, organization.APIKeys)
	}
	return table.Flush()
}
