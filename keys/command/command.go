package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
)

// A Command is one row of a command table.
type Command struct {
	// Name is what is typed, such as "keys rotate".
	Name string
	// Args says what may follow, and Short what the command does.
	Args, Short string
	Run         Run
}

// A Run does what a command is for. The flag set is empty, named and ready for
// [Parse].
type Run func(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error

// New returns a command.
func New(name, args, short string, run Run) Command {
	return Command{Name: name, Args: args, Short: short, Run: run}
}

// An Env is the world outside of a command.
type Env struct {
	In io.Reader
	// Out gets results, Err gets talk.
	Out, Err io.Writer
	// Getenv is for the few variables that are not ours but that everybody
	// expects to be honoured, such as KUBECONFIG.
	Getenv func(string) string
}

// All returns the commands, in the order in which help lists them.
func All() []Command {
	return []Command{
		{"keys init", "WHERE [--bootstrap] [--signer URI] [POLICY]", "make the first key manifest", runInit},
		{"keys rotate", "WHERE", "do what is due: renew leases, publish a next key, drop dead keys", runRotate},
		{"keys activate", "WHERE [KID]", "let a next key take over as soon as every cache can hold it", runActivate},
		{"keys revoke", "WHERE KID… | --all-in-file", "take keys out at once and for good; a next key takes over", runRevoke},
		{"keys rollback", "WHERE", "let the key that signed before sign again", runRollback},
		{"keys add", "WHERE [--signer URI]", "publish one more next key", runAdd},
		{"keys policy", "WHERE [POLICY]", "show or change the policy", runPolicy},
		{"keys import", "WHERE --for DURATION FILE…", "publish keys of another issuer, for the tokens it made", runImport},
		{"keys check", "OLD NEW", "say whether one manifest may follow another", runCheck},
		{"keys status", "WHERE", "show each key, what happens next and what is wrong", runStatus},
		{"keys jwks", "WHERE", "print the JWK Set that is served now", runJWKS},
		{"keys export", "WHERE --public", "print the manifest without private parts", runExport},
	}
}

// A UsageError is a mistake of the caller's.
type UsageError struct{ Err error }

// Error returns what the cause says.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Err }

// Misused returns a [UsageError].
func Misused(format string, args ...any) error {
	return UsageError{Err: fmt.Errorf(format, args...)}
}

// PrintJSON writes v as indented JSON.
func PrintJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
