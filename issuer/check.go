package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
	"github.com/customersession/customersession/keys"
)

// checkTimeout bounds what [Server.Check] asks of the customer directory.
const checkTimeout = 15 * time.Second

// Check writes what is in the files and asks the customer directory whether it
// can answer. Call it in place of Run, for a server made by Open. The error names
// everything that would keep the server from creating sessions, or from ending them,
// now.
func (s *Server) Check(ctx context.Context, w io.Writer) error {
	defer s.closeDirectory()
	defer s.closeRevocations()
	now := time.Now()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, file := range s.files.all {
		fmt.Fprintf(table, "%s\t%s\t%s\n", title(file.name), file.path, s.describe(file, now))
	}
	asked, err := s.askDirectory(ctx)
	if asked && err == nil {
		fmt.Fprintf(table, "%s\t-\tthe directory answers\n", customersFile)
	}
	logErr := errors.Join(s.describeRevocations(table), s.describeRedemptions(ctx, table))
	problems := []error{table.Flush(), err, logErr}
	for _, warning := range s.files.warnings() {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, reason := range s.unready(now) {
		problems = append(problems, errors.New(reason))
	}
	problems = append(problems, s.keys().Away()...)
	return errors.Join(problems...)
}

// describe says how much is in a file.
func (s *Server) describe(file followedFile, now time.Time) string {
	var parts []string
	for _, c := range file.counts() {
		parts = append(parts, fmt.Sprintf("%s: %d", reload.Words(c.of), c.n))
	}
	if file.name == keysFile {
		for state, n := range countStates(s.keys().Manifest(), now) {
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%s: %d", keys.State(state), n))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// describeRevocations says what is in the log of revocations, if there is one. It was
// read when the server was opened.
func (s *Server) describeRevocations(w io.Writer) error {
	status := s.revocations.Status()
	if !status.Enabled {
		return nil
	}
	if status.Failure != nil {
		return fmt.Errorf("reading the revocation log: %w", status.Failure)
	}
	fmt.Fprintf(w, "revocations\t-\tthe log answers, revocations: %d\n", status.Entries)
	return nil
}

// describeRedemptions asks the store of redemptions, if links hold codes.
func (s *Server) describeRedemptions(ctx context.Context, w io.Writer) error {
	if linksWithCodes(s.organizations()) == nil {
		return nil
	}
	if err := s.redeemer.Check(ctx); err != nil {
		return fmt.Errorf("asking for redemptions: %w", err)
	}
	fmt.Fprintf(w, "redemptions\t-\tthe store answers\n")
	return nil
}

// askDirectory asks a customer directory that depends on a remote.
func (s *Server) askDirectory(ctx context.Context) (asked bool, err error) {
	directory, ok := s.customers.(interface {
		Check(ctx context.Context) error
	})
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := directory.Check(ctx); err != nil {
		return true, fmt.Errorf("asking the customer directory: %w", err)
	}
	return true, nil
}
