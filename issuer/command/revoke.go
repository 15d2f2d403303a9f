package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/orgfile"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

func newRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke",
		GroupID: "sessions",
		Short:   "End sessions: one, or all of a customer, a member, an API key or an organization",
	}
	for _, target := range []revokeTarget{
		{
			scope: revocations.Session, use: "session ID", short: "End one session",
			example: "  customersession revoke session 0b6f2c4e-5d0c-4c5e-9a43-6f2f6a1b7c1d --organization acme",
		},
		{
			scope: revocations.Customer, use: "customer ID", short: "End all sessions of a customer that were issued until now",
			example: "  customersession revoke customer 7a3f9f3e-2f55-4a7b-b3c8-0f4f3a0e9c11 --organization acme",
		},
		{
			scope: revocations.Member, use: "member ID", short: "End all sessions of a member that were issued until now",
			example: "  customersession revoke member 5e0d7a0c-8a6d-4d57-8f0b-2a9d9a1f6b20 --organization acme",
		},
		{
			scope: revocations.APIKey, use: "api-key NAME", short: "End all sessions that an API key issued until now",
			long: `

First take the key out of the organizations file, at every server, or it goes on
issuing. A key that is not in the file any more is named by --client-id, as tokens
and the log name it.`,
			example: `  customersession revoke api-key checkout --organization acme --organizations organizations.json
  customersession revoke api-key --client-id 1Jw8a_0P \
    --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737`,
		},
		{
			scope: revocations.Organization, use: "organization ORGANIZATION", short: "End all sessions of an organization that were issued until now",
			example: "  customersession revoke organization acme",
		},
	} {
		cmd.AddCommand(target.command())
	}
	return cmd
}

// A revokeTarget is a command that ends sessions of one scope.
type revokeTarget struct {
	scope                     revocations.Scope
	use, short, long, example string
}

func (t revokeTarget) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: t.use, Short: t.short, Example: t.example, Args: oneArgument,
		Long: t.short + `. Print what ends,
and by when every service refuses it. Repeating is safe.` + t.long + logPlaceHelp,
	}
	r := revocation{logPlace: newLogPlace(cmd), scope: t.scope}
	r.organizations = cmd.Flags().String("organizations", "", "organizations `file`, for names (default CUSTOMERSESSION_ORGANIZATIONS_FILE)")
	if t.scope != revocations.Organization {
		r.organization = cmd.Flags().String("organization", "", "`ID` of the organization, or its slug if the file is known (required)")
	}
	if t.scope == revocations.APIKey {
		r.clientID = cmd.Flags().String("client-id", "", "`ID` of the key in tokens and logs, instead of its name")
		cmd.Args = cobra.MaximumNArgs(1)
		cmd.Use += " | --client-id ID"
	}
	r.reason = cmd.Flags().String("reason", "", "`text` for the audit line")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		ended, err := r.run(strings.Join(args, ""))
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), ended)
		}
		return ended.print(cmd.OutOrStdout())
	}
	return cmd
}

// oneArgument asks for what the usage of cmd names.
func oneArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	_, what, _ := strings.Cut(cmd.Use, " ")
	return fmt.Errorf("revoke %s needs one %s", cmd.Name(), what)
}

// maxReason is the length of the longest reason in characters, as in the API.
const maxReason = 255

// A revocation is a call of a command that ends sessions.
type revocation struct {
	logPlace
	scope                                         revocations.Scope
	organizations, organization, clientID, reason *string
}

// endedSessions are what a command has ended.
type endedSessions struct {
	Scope          revocations.Scope `json:"scope"`
	OrganizationID uuid.UUID         `json:"organization_id"`
	ID             string            `json:"id"`
	RevokedAt      time.Time         `json:"revoked_at"`
	// IssuedBefore is null for one session.
	IssuedBefore *time.Time `json:"issued_before"`
	EffectiveBy  time.Time  `json:"effective_by"`
}

// run ends what the argument names.
func (r revocation) run(argument string) (endedSessions, error) {
	if utf8.RuneCountInString(*r.reason) > maxReason {
		return endedSessions{}, misused(r.cmd, "--reason is longer than %d characters", maxReason)
	}
	if strings.Contains(*r.reason, "csk_") || strings.Contains(*r.reason, "eyJ") {
		return endedSessions{}, misused(r.cmd, "--reason is logged; leave keys and tokens out")
	}
	maxAge, err := r.maxAge()
	if err != nil {
		return endedSessions{}, err
	}
	entry, err := r.entry(argument)
	if err != nil {
		return endedSessions{}, err
	}
	log, err := r.open()
	if err != nil {
		return endedSessions{}, err
	}
	defer log.Close()
	began := time.Now()
	record, err := log.Append(r.cmd.Context(), entry)
	if late := began.Sub(record.IssuedBefore); err == nil && !record.IssuedBefore.IsZero() && late >= 0 {
		return endedSessions{}, fmt.Errorf("sessions of the last %s were not ended: the clock of the log is late, or this one is ahead; correct it and repeat the command",
			(late + 2*time.Second).Round(time.Second))
	}
	if err != nil {
		if errors.Is(err, revocations.ErrRefused) || errors.Is(err, revocations.ErrEntry) {
			return endedSessions{}, fmt.Errorf("nothing was ended: %w", err)
		}
		return endedSessions{}, fmt.Errorf("the outcome is unknown; repeat the command until it succeeds: %w", err)
	}
	now := time.Now().UTC()
	ended := endedSessions{
		Scope: entry.Scope, OrganizationID: entry.OrganizationID, ID: entry.ID,
		RevokedAt: now.Truncate(time.Second), EffectiveBy: now.Add(maxAge + time.Second - 1).Truncate(time.Second),
	}
	if !record.IssuedBefore.IsZero() {
		before := record.IssuedBefore.UTC()
		ended.IssuedBefore = &before
	}
	newLogger(r.cmd.ErrOrStderr(), slog.LevelInfo).Info("sessions ended",
		"scope", entry.Scope, "organization_id", entry.OrganizationID, "id", entry.ID,
		"log_seq", record.Seq, "reason", *r.reason)
	return ended, nil
}

// entry returns what the command asks of the log.
func (r revocation) entry(argument string) (revocations.Entry, error) {
	entry := revocations.Entry{Scope: r.scope, ID: argument}
	name := argument
	if r.organization != nil {
		name = *r.organization
	} else {
		entry.ID = ""
	}
	if name == "" {
		return entry, misused(r.cmd, "revoke %s needs --organization", r.cmd.Name())
	}
	var err error
	if entry.OrganizationID, err = r.organizationID(name); err != nil {
		return entry, err
	}
	switch r.scope {
	case revocations.Organization:
	case revocations.APIKey:
		entry.ID, err = r.keyID(argument, entry.OrganizationID)
	default:
		id, ok := parseUUID(argument)
		if !ok {
			return entry, misused(r.cmd, "the ID of a %s is a UUID, not %q", r.scope, argument)
		}
		entry.ID = id.String()
	}
	return entry, err
}

// parseUUID parses an ID in its usual form only.
func parseUUID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(id.String())
}

// file returns the path of the organizations file, empty if it is not known.
func (r revocation) file() (string, error) {
	s, err := r.settings()
	return cmp.Or(*r.organizations, s.OrganizationsFile), err
}

// organizationID finds an organization. An ID needs no file, and may be one that is
// not there any more.
func (r revocation) organizationID(name string) (uuid.UUID, error) {
	if id, ok := parseUUID(name); ok {
		return id, nil
	}
	path, err := r.file()
	if err != nil {
		return uuid.Nil, err
	}
	if path == "" {
		return uuid.Nil, misused(r.cmd, "%q is not the ID of an organization; to find it by its slug, add --organizations FILE", name)
	}
	document, err := orgfile.Read(path)
	if err != nil {
		return uuid.Nil, err
	}
	found, err := document.Organization(name)
	if err != nil {
		return uuid.Nil, fmt.Errorf("%s: %w", path, err)
	}
	return found.ID, nil
}

// isClientID matches what tokens call an API key.
var isClientID = regexp.MustCompile(`^[-_0-9A-Za-z]{8}$`)

// keyID returns the client ID of an API key. A name may look like a client ID, so
// each has a place of its own.
func (r revocation) keyID(name string, organization uuid.UUID) (string, error) {
	if (name == "") == (*r.clientID == "") {
		return "", misused(r.cmd, "revoke api-key needs either the NAME of the key or --client-id")
	}
	if name == "" {
		if !isClientID.MatchString(*r.clientID) {
			return "", misused(r.cmd, "a client ID has 8 characters of base64url; %q is none", *r.clientID)
		}
		return *r.clientID, nil
	}
	path, err := r.file()
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", misused(r.cmd, "to find an API key by its name, add --organizations FILE; or use --client-id")
	}
	document, err := orgfile.Read(path)
	if err != nil {
		return "", err
	}
	owner, err := document.Organization(organization.String())
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return findKey(owner, name)
}

func findKey(owner *organizations.Organization, name string) (string, error) {
	for key := range owner.APIKeys() {
		if key.Name == name {
			return key.ClientID, nil
		}
	}
	return "", fmt.Errorf("organization %s has no API key %q; name one that was removed by --client-id", owner.Slug, name)
}

// print prints it for people.
func (e endedSessions) print(w io.Writer) error {
	what := map[revocations.Scope]string{
		revocations.Session:      "the session " + e.ID,
		revocations.Customer:     "all sessions of the customer " + e.ID,
		revocations.Member:       "all sessions of the member " + e.ID,
		revocations.APIKey:       "all sessions of the API key with the client ID " + e.ID,
		revocations.Organization: "all sessions",
	}[e.Scope]
	what += " of the organization " + e.OrganizationID.String()
	if e.IssuedBefore != nil {
		what += " that were issued before " + e.IssuedBefore.Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(w, "Ended: %s.\nServices refuse them within seconds, and all of them by %s.\n", what, e.EffectiveBy.Format(time.RFC3339))
	return err
}
