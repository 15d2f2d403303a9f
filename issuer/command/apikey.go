package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys/command"
)

func runAPIKeyNew(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	name := flags.String("name", "", "`name` of the key, unique in its organization")
	scopes := flags.String("scope", string(organizations.ScopeWrite), "comma-separated `scopes`: customer_sessions:write, customer_sessions:introspect")
	lasts := flags.Duration("expires-in", 0, "how long the key is valid, e.g. 2160h; 0 for ever")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if err := parse(flags, args); err != nil {
		return err
	}
	var list []organizations.Scope
	for scope := range strings.SplitSeq(*scopes, ",") {
		list = append(list, organizations.Scope(strings.TrimSpace(scope)))
	}
	var expires time.Time
	if *lasts != 0 {
		expires = time.Now().Add(*lasts)
	}
	secret, entry, err := organizations.NewAPIKey(*name, list, expires)
	if err != nil {
		return command.UsageError{Err: err}
	}
	if *asJSON {
		return json.NewEncoder(env.Out).Encode(map[string]any{"secret": secret.Reveal(), "entry": json.RawMessage(entry)})
	}
	fmt.Fprintf(env.Out, "Secret, shown only now; give it to whoever asks for sessions:\n\n  %s\n\n", secret.Reveal())
	fmt.Fprintf(env.Out, "Add this to api_keys of the organization:\n\n%s\n", entry)
	return nil
}
