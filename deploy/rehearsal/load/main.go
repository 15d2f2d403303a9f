// Command load is the world around the installation in the rehearsal: checkouts
// that create sessions at a constant rate, and two services that verify them,
// again and again until they expire. It counts in acts, which standard input
// names, and at the end of it prints a table and says whether all was well:
//
//	act NAME               another act begins
//	outage NAME            the same, and creates may be answered with 503 in it
//	revoking KID           tokens of this key are no longer promised anything
//	revoked KID DURATION   consumers must refuse them from then on
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

type settings struct {
	target, wellKnown string
	issuer, customer  string
	keyFile           string
	rate              int
}

func run(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.StringVar(&s.target, "target", "", "`host:port` of the Service for the API")
	flags.StringVar(&s.wellKnown, "well-known", "", "`host:port` of the Service for the JWK Set")
	flags.StringVar(&s.issuer, "issuer", "", "the iss of its tokens")
	flags.StringVar(&s.keyFile, "api-key-file", "", "`file` with the API key of the checkouts")
	flags.StringVar(&s.customer, "customer", "", "external `ID` of the customer to create sessions for")
	flags.IntVar(&s.rate, "rate", 25, "creates per second, and for each consumer four times as many verifications")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := os.ReadFile(s.keyFile)
	if err != nil {
		return fmt.Errorf("reading the API key: %w", err)
	}
	w := &world{
		tally:  tally.New("calm"),
		logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if err := w.start(ctx, s, strings.TrimSpace(string(key))); err != nil {
		return err
	}
	if err := w.follow(os.Stdin); err != nil {
		return err
	}
	w.tally.End()
	stop()
	w.wait.Wait()
	return errors.Join(w.tally.WriteTable(os.Stdout), w.tally.Err())
}

// follow does what the lines of r say, until there are no more.
func (w *world) follow(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := w.obey(lines.Text()); err != nil {
			return fmt.Errorf("line %q: %w", lines.Text(), err)
		}
	}
	return lines.Err()
}

func (w *world) obey(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "act", "outage":
		w.tally.Begin(rest, word == "outage")
	case "revoking":
		w.revocations.Announce(rest)
	case "revoked":
		kid, text, _ := strings.Cut(rest, " ")
		after, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		w.revocations.Enforce(kid, time.Now().Add(after))
	default:
		return errors.New("it begins with none of act, outage, revoking and revoked")
	}
	w.logger.Info("obeying", slog.String("line", line))
	return nil
}
