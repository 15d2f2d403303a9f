package command

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/pkcs11"
)

// A device is where keys are that never leave it, as flags say it.
type device struct {
	signers []string
	module  string
	pinFile string
}

func (d *device) flags(flags *flag.FlagSet, usage string) {
	flags.Func("signer", "`URI` of "+usage+" in a device, such as \"pkcs11:token=sessions;object=2026\" (RFC 7512)", func(uri string) error {
		d.signers = append(d.signers, uri)
		return nil
	})
	flags.StringVar(&d.module, "pkcs11-module", "", "with --signer: `path` of the PKCS #11 library of the device")
	flags.StringVar(&d.pinFile, "pin-file", "", "with --signer: `file` with the PIN, unless the URI has a pin-source")
}

// remotes asks the device for the public halves of the signers.
func (d *device) remotes(ctx context.Context, flags *flag.FlagSet) (remotes []keys.Remote, err error) {
	if len(d.signers) == 0 {
		return nil, nil
	}
	if d.module == "" {
		return nil, Misused("%s --signer needs --pkcs11-module PATH", flags.Name())
	}
	opened, err := pkcs11.New(pkcs11.Config{Module: d.module, PINFile: d.pinFile})
	if err != nil {
		return nil, err
	}
	//nolint:contextcheck // what was opened is closed even when time is up
	defer func() { err = errors.Join(err, opened.Close()) }()
	for _, uri := range d.signers {
		public, err := opened.Public(ctx, uri)
		if err != nil {
			return nil, fmt.Errorf("looking for the key in the device: %w", err)
		}
		remotes = append(remotes, keys.Remote{Signer: uri, Public: public})
	}
	return remotes, nil
}
