package command

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// logSettings are the settings of serve that say where the revocation log is. The
// commands read nothing else, so that they work where the rest is missing. All are
// text, because a variable that is set and empty counts as unset.
type logSettings struct {
	Engine            string `envconfig:"CUSTOMERSESSION_REVOCATIONS"`
	File              string `envconfig:"CUSTOMERSESSION_REVOCATIONS_FILE"`
	DSNFile           string `envconfig:"CUSTOMERSESSION_REVOCATIONS_DSN_FILE"`
	DSNInsecure       string `envconfig:"CUSTOMERSESSION_REVOCATIONS_DSN_INSECURE"`
	MaxAge            string `envconfig:"CUSTOMERSESSION_REVOCATIONS_MAX_AGE"`
	OrganizationsFile string `envconfig:"CUSTOMERSESSION_ORGANIZATIONS_FILE"`
}

// A logPlace is where a command finds the revocation log.
type logPlace struct {
	cmd           *cobra.Command
	file, dsnFile *string
}

// logPlaceHelp says it in the help of a command.
const logPlaceHelp = `

The log is that of the CUSTOMERSESSION_REVOCATIONS settings of serve, or the one
that a flag names. No other setting is needed, and no server.`

// newLogPlace gives cmd the flags that name a log.
func newLogPlace(cmd *cobra.Command) logPlace {
	return logPlace{
		cmd:     cmd,
		file:    cmd.Flags().String("file", "", "log in this `file` (default CUSTOMERSESSION_REVOCATIONS_FILE)"),
		dsnFile: cmd.Flags().String("dsn-file", "", "log in PostgreSQL; `file` with the connection string (default CUSTOMERSESSION_REVOCATIONS_DSN_FILE)"),
	}
}

// settings returns the settings of the environment.
func (p logPlace) settings() (logSettings, error) {
	var s logSettings
	err := envconfig.Process("", &s)
	return s, err
}

// config returns which log it is. The error is a misuse if none is named.
func (p logPlace) config() (revocations.Config, error) {
	s, err := p.settings()
	if err != nil {
		return revocations.Config{}, err
	}
	insecure, err := strconv.ParseBool(cmp.Or(s.DSNInsecure, "false"))
	if err != nil {
		return revocations.Config{}, misused(p.cmd, "CUSTOMERSESSION_REVOCATIONS_DSN_INSECURE is not true or false")
	}
	config := revocations.Config{
		Engine: revocations.Engine(cmp.Or(s.Engine, string(revocations.EngineOff))),
		File:   s.File, DSNFile: s.DSNFile, DSNInsecure: insecure,
	}
	switch {
	case *p.file != "" && *p.dsnFile != "":
		return config, misused(p.cmd, "--file and --dsn-file name two logs")
	case *p.file != "":
		return revocations.Config{Engine: revocations.EngineFile, File: *p.file}, nil
	case *p.dsnFile != "":
		return revocations.Config{Engine: revocations.EnginePostgres, DSNFile: *p.dsnFile, DSNInsecure: insecure}, nil
	}
	if err := config.Check(); err != nil {
		return config, misused(p.cmd, "wrong settings: %w", err)
	}
	if config.Engine == revocations.EngineOff {
		return config, misused(p.cmd, "no log: name it with --file or --dsn-file, or set CUSTOMERSESSION_REVOCATIONS as for serve")
	}
	return config, nil
}

// open opens the log.
func (p logPlace) open() (revocations.Log, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	return revocations.Open(p.cmd.Context(), config)
}

// redemptions returns "ready" if codes can be redeemed beside the log, or what is
// wrong. That is an error only where links hold codes.
func (p logPlace) redemptions() string {
	config, err := p.config()
	if err != nil {
		return err.Error()
	}
	store, err := revocations.OpenRedemptions(p.cmd.Context(), config)
	if err != nil {
		return err.Error()
	}
	defer store.Close()
	if err := store.Check(p.cmd.Context()); err != nil {
		return err.Error()
	}
	return "ready"
}

// maxAge returns for how long consumers may use what they know.
func (p logPlace) maxAge() (time.Duration, error) {
	s, err := p.settings()
	if err != nil {
		return 0, err
	}
	age, err := time.ParseDuration(cmp.Or(s.MaxAge, "15m"))
	if err != nil || age < 10*time.Second || age > 24*time.Hour {
		return 0, misused(p.cmd, "CUSTOMERSESSION_REVOCATIONS_MAX_AGE is not a duration from 10s to 24h")
	}
	return age, nil
}

// talk prints a line for people, which is not a result.
func (p logPlace) talk(format string, args ...any) {
	fmt.Fprintf(p.cmd.ErrOrStderr(), format+"\n", args...)
}
