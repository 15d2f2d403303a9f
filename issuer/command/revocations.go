package command

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

func newRevocationsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revocations", GroupID: "sessions", Short: "Look after the revocation log: init, list, status"}
	cmd.AddCommand(newRevocationsInitCommand(), newRevocationsListCommand(), newRevocationsStatusCommand())
	return cmd
}

func newRevocationsInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the revocation log if there is none",
		Long: `Make the revocation log if there is none: a file, or a table in PostgreSQL. Beside
it, make what keeps which codes of links have been redeemed. Run it as the user of
the server for a file, and as a role that may make tables for PostgreSQL.

With --print, print the SQL of the tables, of the server's permissions and of the
job that drops old entries instead.

With --from, also copy what is in force in a log in a file to the tables, as it is.
Repeating copies what is new.` + logPlaceHelp,
		Example: `  customersession revocations init --file /var/lib/customersession/revocations.jsonl
  customersession revocations init --print | psql mydatabase
  customersession revocations init --dsn-file revocations.dsn --from revocations.jsonl`,
	}
	place := newLogPlace(cmd)
	show := cmd.Flags().Bool("print", false, "print the SQL, and do nothing")
	from := cmd.Flags().String("from", "", "log in this `file`, to copy to the table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *show {
			_, err := io.WriteString(cmd.OutOrStdout(), revocations.PostgresSchema+revocations.PostgresGrants)
			return err
		}
		config, err := place.config()
		if err != nil {
			return err
		}
		if *from != "" && config.Engine != revocations.EnginePostgres {
			return misused(cmd, "--from copies to PostgreSQL; name it with --dsn-file")
		}
		if err := revocations.Init(cmd.Context(), config); err != nil {
			return err
		}
		if config.Engine == revocations.EngineFile {
			place.talk("%s: the revocation log is there, and the redemptions beside it", config.File)
			return nil
		}
		place.talk("the tables customersession_revocations and customersession_redemptions are there; see --print for the server's permissions")
		if *from == "" {
			return nil
		}
		added, err := revocations.CopyFile(cmd.Context(), *from, config)
		if err == nil {
			place.talk("%s: %d entries copied", *from, added)
		}
		return err
	}
	return cmd
}

// A listedRevocation is an entry in force as revocations list shows it.
type listedRevocation struct {
	Seq            int64             `json:"seq"`
	Scope          revocations.Scope `json:"scope"`
	OrganizationID *uuid.UUID        `json:"organization_id"`
	ID             string            `json:"id"`
	IssuedBefore   *time.Time        `json:"issued_before"`
	Until          time.Time         `json:"until"`
}

func newRevocationsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is in force in the revocation log",
		Long: `List what is in force in the revocation log. An entry is forgotten when nothing
that it ends can be accepted any more.` + logPlaceHelp,
		Example: "  customersession revocations list --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737",
	}
	place := newLogPlace(cmd)
	organization := cmd.Flags().String("organization", "", "only entries of the organization with this `ID`")
	asJSON := cmd.Flags().Bool("json", false, "print a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		only, ok := parseUUID(*organization)
		if *organization != "" && !ok {
			return misused(cmd, "the ID of an organization is a UUID, not %q", *organization)
		}
		log, err := place.open()
		if err != nil {
			return err
		}
		defer log.Close()
		page, err := log.Read(cmd.Context(), revocations.Position{})
		if err != nil {
			return err
		}
		if *organization != "" {
			page.Records = slices.DeleteFunc(page.Records, func(r revocations.Record) bool { return r.OrganizationID != only })
		}
		list := listRevocations(page.Records)
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printRevocations(cmd.OutOrStdout(), list)
	}
	return cmd
}

func listRevocations(records []revocations.Record) []listedRevocation {
	list := []listedRevocation{}
	for _, r := range records {
		listed := listedRevocation{Seq: r.Seq, Scope: r.Scope, ID: r.ID, Until: r.DropAt.UTC()}
		if r.OrganizationID != uuid.Nil {
			listed.OrganizationID = &r.OrganizationID
		}
		if !r.IssuedBefore.IsZero() {
			before := r.IssuedBefore.UTC()
			listed.IssuedBefore = &before
		}
		list = append(list, listed)
	}
	return list
}

func printRevocations(w io.Writer, list []listedRevocation) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCOPE\tORGANIZATION\tID\tISSUED BEFORE\tUNTIL")
	for _, r := range list {
		organization, before, id := "-", "-", r.ID
		if r.OrganizationID != nil {
			organization = r.OrganizationID.String()
		}
		if r.IssuedBefore != nil {
			before = r.IssuedBefore.Format(time.RFC3339)
		}
		if id == "" {
			id = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Scope, organization, printableID(id), before, r.Until.Format(time.RFC3339))
	}
	return table.Flush()
}

// printableID quotes an ID that a terminal or the table would misread: who ended a
// session has chosen it.
func printableID(id string) string {
	if quoted := fmt.Sprintf("%+q", id); quoted != `"`+id+`"` {
		return quoted
	}
	return id
}

// A logStatus is what revocations status shows.
type logStatus struct {
	Engine            revocations.Engine        `json:"engine"`
	Log               string                    `json:"log"`
	Seq               int64                     `json:"seq"`
	Entries           map[revocations.Scope]int `json:"entries"`
	ClockAheadSeconds float64                   `json:"clock_ahead_seconds"`
	ReadSeconds       float64                   `json:"read_seconds"`
	Replication       *string                   `json:"replication"`
	// Redemptions is "ready", or what is wrong.
	Redemptions string `json:"redemptions"`
}

func newRevocationsStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the revocation log is",
		Long: `Show how the revocation log is: its incarnation and newest number, what is in
force, how far its clock is ahead of that of this machine, how long it takes to
read, whether a failover may lose entries, and whether codes of links can be redeemed
beside it. The exit code is 1 if the log is away or refused.` + logPlaceHelp,
		Example: "  customersession revocations status --dsn-file /etc/customersession/revocations.dsn",
	}
	place := newLogPlace(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := place.open()
		if err != nil {
			return err
		}
		defer log.Close()
		s, err := revocations.ReadStatus(cmd.Context(), log)
		if err != nil {
			return err
		}
		status := logStatus{
			Engine: s.Engine, Log: s.Position.Log, Seq: s.Position.Seq, Entries: s.Entries,
			ClockAheadSeconds: s.ClockAhead.Seconds(), ReadSeconds: s.ReadTime.Seconds(),
			Redemptions: place.redemptions(),
		}
		if s.Replication != "" {
			status.Replication = &s.Replication
		}
		if s.ClockAhead.Abs() > time.Second {
			place.talk("warning: the clocks of the log and of this machine are more than 1 s apart")
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), status)
		}
		return status.print(cmd.OutOrStdout())
	}
	return cmd
}

func (s logStatus) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "engine\t%s\nlog\t%s\nseq\t%d\n", s.Engine, s.Log, s.Seq)
	total := 0
	for _, count := range s.Entries {
		total += count
	}
	fmt.Fprintf(table, "in force\t%d\n", total)
	for _, scope := range []revocations.Scope{
		revocations.Session, revocations.Customer, revocations.Member, revocations.APIKey, revocations.Organization,
		revocations.SigningKey, revocations.Manifest,
	} {
		if count := s.Entries[scope]; count > 0 {
			fmt.Fprintf(table, "  %s\t%d\n", scope, count)
		}
	}
	fmt.Fprintf(table, "clock\t%+.3f s\nread\t%.1f ms\n", s.ClockAheadSeconds, 1000*s.ReadSeconds)
	if s.Replication != nil {
		fmt.Fprintf(table, "replication\t%s\n", *s.Replication)
	}
	fmt.Fprintf(table, "redemptions\t%s\n", s.Redemptions)
	return table.Flush()
}
