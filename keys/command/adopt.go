package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/internal/foreign"
	"github.com/customersession/customersession/keys/jwk"
)

// maxImport is the size of a file of keys, far above that of 64 keys.
const maxImport = 1 << 20

func runImport(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	w := newWriter(env, flags)
	lasts := flags.Duration("for", 0, "how long to publish the keys: the longest lifetime of the other issuer's tokens, and its verifiers' cache")
	id := flags.String("kid", "", "the `key ID` that tokens have, where the file does not say it, as in PEM")
	files, err := Parse(flags, args, -1)
	if err != nil {
		return err
	}
	if len(files) == 0 || *lasts <= 0 {
		return Misused("keys import needs --for DURATION and the FILE of a key (PEM, JWK or JWK Set); - is standard input")
	}
	adopted, err := readPublics(env, files)
	if err != nil {
		return err
	}
	if *id != "" {
		if len(adopted) != 1 {
			return Misused("--kid names one key, but there are %d", len(adopted))
		}
		adopted[0] = adopted[0].WithID(*id)
	}
	return w.change(ctx, func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
		until := now.UTC().Truncate(time.Second).Add(*lasts)
		return keys.Import(m, now, until, adopted...)
	}, nil)
}

// readPublics reads the keys of all files.
func readPublics(env Env, files []string) ([]*jwk.Key, error) {
	var all []*jwk.Key
	for _, name := range files {
		data, err := readInput(env, name)
		if err != nil {
			return nil, err
		}
		found, err := foreign.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// readInput reads a file, or standard input for "-".
func readInput(env Env, name string) ([]byte, error) {
	input := env.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		input = file
	}
	return io.ReadAll(io.LimitReader(input, maxImport))
}
