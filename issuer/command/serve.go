package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/keys/pkcs11"
)

// openDevice returns what finds keys in the device of the settings, if there
// is one.
func openDevice(settings issuer.Settings) (open keys.OpenSigner, closeDevice func() error, err error) {
	if settings.PKCS11Module == "" {
		return nil, func() error { return nil }, nil
	}
	device, err := pkcs11.New(pkcs11.Config{Module: settings.PKCS11Module, PINFile: settings.PKCS11PINFile})
	if err != nil {
		return nil, nil, fmt.Errorf("CUSTOMERSESSION_PKCS11_MODULE: %w", err)
	}
	return device.Open, device.Close, nil
}

func (p program) runServe(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) (err error) {
	if err := parse(flags, args); err != nil {
		return err
	}
	settings, err := issuer.LoadSettings()
	if err != nil {
		return command.Misused("wrong settings:\n%w", err)
	}
	settings.Version = p.running().Build.Version
	logger := newLogger(env.Err, settings.LogLevel)
	signers, closeDevice, err := openDevice(settings)
	if err != nil {
		return command.Misused("cannot start:\n%w", err)
	}
	defer func() { err = errors.Join(err, closeDevice()) }()
	server, err := issuer.Open(ctx, settings, signers, logger)
	if err != nil {
		return command.Misused("cannot start:\n%w", err)
	}
	var listen net.ListenConfig
	public, err := listen.Listen(ctx, "tcp", settings.Addr)
	if err != nil {
		return fmt.Errorf("CUSTOMERSESSION_ADDR: %w", err)
	}
	operations, err := listen.Listen(ctx, "tcp", settings.OperationsAddr)
	if err != nil {
		return fmt.Errorf("CUSTOMERSESSION_OPERATIONS_ADDR: %w", err)
	}
	logger.Info("listening", "addr", public.Addr().String(), "operations_addr", operations.Addr().String(),
		"issuer", settings.Issuer, "version", p.version())
	return server.Run(ctx, issuer.RunConfig{
		Public: public, Operations: operations,
		DrainDelay: settings.DrainDelay, DrainTimeout: settings.DrainTimeout,
	})
}
