package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/pkcs11"
)

// A device holds keys that never leave it; its flags say which.
type device struct {
	signers []string
	module  string
	pinFile string
}

// flags gives cmd the flags of a device.
func (d *device) flags(cmd *cobra.Command, usage string) {
	cmd.Flags().StringArrayVar(&d.signers, "signer", nil, usage+", such as \"pkcs11:token=sessions;object=2026\" (RFC 7512)")
	cmd.Flags().StringVar(&d.module, "pkcs11-module", "", "with --signer: `path` of the device's PKCS #11 library")
	cmd.Flags().StringVar(&d.pinFile, "pin-file", "", "with --signer: `file` with the PIN, unless the URI has a pin-source")
}

// remotes asks the device for the public halves of the signers.
func (d *device) remotes(cmd *cobra.Command) (remotes []keys.Key, err error) {
	if len(d.signers) == 0 {
		return nil, nil
	}
	if d.module == "" {
		return nil, misused(cmd, "--signer needs --pkcs11-module PATH, the PKCS #11 library of the device")
	}
	opened, err := pkcs11.New(pkcs11.Config{Module: d.module, PINFile: d.pinFile})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	for _, uri := range d.signers {
		public, err := opened.Public(cmd.Context(), uri)
		if err != nil {
			return nil, fmt.Errorf("looking for the key in the device: %w", err)
		}
		remotes = append(remotes, keys.Key{Signer: uri, Public: public})
	}
	return remotes, nil
}
