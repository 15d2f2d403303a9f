package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/fileaccess"
	"github.com/customersession/customersession/issuer/internal/logwriter"
	"github.com/customersession/customersession/issuer/internal/release"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/pkcs11"
)

const serveLong = `Run the production server. Settings are environment variables; a secret is in a
file that a setting names. If settings are wrong, missing or misspelt, the server
does not start: it names all of them, and the exit code is 2.

The server reads its files again when they change. A version that takes away more
than half of the customers, organizations or API keys is refused until SIGHUP,
which makes the server read all files at once.

If systemd passes sockets named public and operations, the server takes them in
place of CUSTOMERSESSION_ADDR and CUSTOMERSESSION_OPERATIONS_ADDR.

With --check, it does not serve: it reads the settings and files, opens the keys,
asks the database or the server that has the customers, and prints what it found.
The exit code is 1 if anything would keep it from creating sessions.

Settings and their defaults:

`

func newServeCommand(build release.Build) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: "run",
		Short:   "Run the production server, configured by the environment",
		Long:    serveLong + settings(),
	}
	check := cmd.Flags().Bool("check", false, "check everything and print what was found, but do not serve")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := issuer.LoadSettings()
		if err != nil {
			return misused(cmd, "wrong settings:\n%w", err)
		}
		s.Version = build.Version
		if *check {
			return checkServer(cmd, s)
		}
		return serve(cmd, s, build)
	}
	return cmd
}

// checkServer does all that starting does, short of listening.
func checkServer(cmd *cobra.Command, settings issuer.Settings) (err error) {
	signers, closeDevice, err := openDevice(settings)
	if err != nil {
		return fmt.Errorf("cannot start:\n%w", err)
	}
	defer func() { err = errors.Join(err, closeDevice()) }()
	server, err := issuer.Open(cmd.Context(), settings, signers, newLogger(cmd.ErrOrStderr(), settings.LogLevel))
	if err != nil {
		return fmt.Errorf("cannot start:\n%w", err)
	}
	if err := server.Check(cmd.Context(), cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("cannot create sessions:\n%w", err)
	}
	return nil
}

// heapFloor keeps the garbage collector from running every few megabytes. The
// live heap of a server without a file of customers is about a megabyte, and
// collecting it every hundred requests takes a tenth of the processor time of
// creating sessions. This memory is never touched, so it is not resident. GOGC
// would not do: a value that helps a small heap makes a large one several times
// as large.
const heapFloor = 16 << 20

func serve(cmd *cobra.Command, settings issuer.Settings, build release.Build) (err error) {
	// From start to end: without a handler, SIGHUP ends the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Ignore(syscall.SIGPIPE)
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	log := logwriter.New(cmd.ErrOrStderr())
	defer log.Close(time.Second)
	ctx, logger := cmd.Context(), newLogger(log, settings.LogLevel)
	signers, closeDevice, err := openDevice(settings)
	if err != nil {
		return misused(cmd, "cannot start:\n%w", err)
	}
	defer func() { err = errors.Join(err, closeDevice()) }()
	server, err := issuer.Open(ctx, settings, signers, logger)
	if err != nil {
		return misused(cmd, "cannot start:\n%w", err)
	}
	go reloadAt(ctx, hangups, server)
	public, operations, err := listen(cmd, settings)
	if err != nil {
		return err
	}
	logger.Info("listening", "addr", public.Addr().String(), "operations_addr", operations.Addr().String(),
		"issuer", settings.Issuer, "version", build.String())
	err = server.Run(ctx, issuer.RunConfig{
		Public: public, Operations: operations,
		DrainDelay: settings.DrainDelay, DrainTimeout: settings.DrainTimeout, LogDropped: log.Dropped,
	})
	logStopped(logger, err)
	return err
}

// logStopped writes the last line of a log that "listening" began.
func logStopped(logger *slog.Logger, err error) {
	if err != nil {
		logger.Error("stopped", "error", err.Error())
		return
	}
	logger.Info("stopped")
}

// reloadAt reloads the files at each signal until ctx is done.
func reloadAt(ctx context.Context, hangups <-chan os.Signal, server *issuer.Server) {
	for {
		select {
		case <-hangups:
			server.Reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// openDevice returns a function that finds keys in the device of the settings,
// nil without a device.
func openDevice(settings issuer.Settings) (open keys.OpenSigner, closeDevice func() error, err error) {
	if settings.PKCS11Module == "" {
		return nil, func() error { return nil }, nil
	}
	// A library without a path is found where the system has its libraries.
	if err := fileaccess.CheckWrite(settings.PKCS11Module); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("CUSTOMERSESSION_PKCS11_MODULE: %w", err)
	}
	device, err := pkcs11.New(pkcs11.Config{Module: settings.PKCS11Module, PINFile: settings.PKCS11PINFile})
	if err != nil {
		return nil, nil, fmt.Errorf("CUSTOMERSESSION_PKCS11_MODULE: %w", err)
	}
	return device.Open, device.Close, nil
}
