// Package command has the commands of the server: what main.go runs for dev,
// serve, config, apikey, token, probe, authz and version.
package command

import (
	"flag"
	"io"
	"log/slog"

	"github.com/customersession/customersession/issuer/internal/release"
	"github.com/customersession/customersession/keys/command"
)

// A program knows what the linker wrote into the binary.
type program struct {
	linked release.Linked
}

// All returns the commands, in the order of the help. Version and commit are
// what the linker wrote, empty where the toolchain knows.
func All(version, commit string) []command.Command {
	p := program{release.Linked{Version: version, Commit: commit}}
	return []command.Command{
		command.New("dev", "[--addr HOST:PORT]", "run everything on loopback, with a demo customer and portal", runDev),
		command.New("serve", "", "run the production server, configured by the environment", p.runServe),
		command.New("config", "", "print the table of settings that serve reads", runConfig),
		command.New("apikey new", "--name NAME [--scope SCOPE,…]", "make an API key for an organization", runAPIKeyNew),
		command.New("token inspect", "[--issuer URL]", "show the token on standard input, verified or not", runTokenInspect),
		command.New("probe", "[--url URL] [--timeout DURATION]", "ask a running server whether it is ready", runProbe),
		command.New("authz", "--issuer URL [--audience NAME]", "tell gateways whose session a request belongs to", p.runAuthz),
		command.New("version", "[--json | --sbom] [FILE]", "print version and commit of this binary or of one in a file", p.runVersion),
	}
}

func (p program) running() release.Binary { return release.Running(p.linked) }

// version is for the log of the start.
func (p program) version() string { return p.running().Build.String() }

// parse reads flags and refuses anything left over.
func parse(flags *flag.FlagSet, args []string) error {
	_, err := command.Parse(flags, args, 0)
	return err
}

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
