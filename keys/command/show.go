package command

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

func newJWKSCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "jwks", Short: "Print the JWK Set that is published now"}
	p := newPlace(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, _, err := p.read(cmd.Context())
		if err != nil {
			return err
		}
		set := m.PublishedAt(time.Now())
		if set.Len() == 0 {
			return errors.New("no key is published now")
		}
		_, err = cmd.OutOrStdout().Write(append(set.AppendJSON(nil), '\n'))
		return err
	}
	return cmd
}

func newExportCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "export --public", Short: "Print the manifest without private keys"}
	p := newPlace(cmd, getenv)
	public := cmd.Flags().Bool("public", false, "leave private keys out (required: they are never printed)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*public {
			return misused(cmd, "keys export needs --public: private keys are never printed; to move them, copy the file")
		}
		m, _, err := p.read(cmd.Context())
		if err != nil {
			return err
		}
		for _, k := range m.Keys {
			k.Private, k.Signer = nil, ""
		}
		_, err = cmd.OutOrStdout().Write(m.Encode())
		return err
	}
	return cmd
}
