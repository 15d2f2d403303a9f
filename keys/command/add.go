package command

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

func newAddCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "add", Short: "Publish one more next key"}
	w := newChanger(cmd, getenv)
	var device device
	device.flags(cmd, "`URI` of a key in a device")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(device.signers) > 1 {
			return misused(cmd, "keys add takes one --signer; run it once for each key")
		}
		remotes, err := device.remotes(cmd)
		if err != nil {
			return err
		}
		return w.change(cmd.Context(), func(m *keys.Manifest, now time.Time) (*keys.Manifest, error) {
			if len(remotes) == 0 {
				return keys.Add(m, now, nil)
			}
			return keys.Add(m, now, &remotes[0])
		}, nil)
	}
	return cmd
}
