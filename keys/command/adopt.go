package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/internal/foreign"
	"github.com/customersession/customersession/keys/jwk"
)

// maxImport is the size of a file of keys, far above that of 64 keys.
const maxImport = 1 << 20

func newImportCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Publish the keys of another issuer, for its tokens",
		Long: `Publish the keys of another issuer, so that its tokens stay valid until they
expire. An imported key never signs.

FILE holds a public key in PEM, a JWK or a JWK Set; - reads standard input.`,
		Example: `  customersession keys import --file keys.json --for 24h old-jwks.json
  customersession keys import --file keys.json --for 24h --kid old-2024 old.pem`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("keys import needs a FILE with a public key: PEM, JWK or JWK Set; - is standard input")
			}
			return nil
		},
	}
	w := newChanger(cmd, getenv)
	lasts := cmd.Flags().Duration("for", 0, "how long to publish the keys: the other issuer's longest session and its verifiers' cache (required)")
	id := cmd.Flags().String("kid", "", "`key ID` in the tokens, where the file has none, as in PEM")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if *lasts <= 0 {
			return misused(cmd, "keys import needs --for DURATION, how long to publish the keys")
		}
		adopted, err := readPublics(cmd, files)
		if err != nil {
			return err
		}
		if *id != "" {
			if len(adopted) != 1 {
				return misused(cmd, "--kid names one key, but there are %d", len(adopted))
			}
			adopted[0] = adopted[0].WithID(*id)
		}
		return w.change(cmd.Context(), func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
			until := now.UTC().Truncate(time.Second).Add(*lasts)
			return keys.Import(m, now, until, adopted...)
		}, nil)
	}
	return cmd
}

// readPublics reads the keys of all files.
func readPublics(cmd *cobra.Command, files []string) ([]*jwk.Key, error) {
	var all []*jwk.Key
	for _, name := range files {
		data, err := readInput(cmd, name)
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
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	input := cmd.InOrStdin()
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
