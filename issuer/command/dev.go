package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer/internal/demo"
	"github.com/customersession/customersession/issuer/internal/loopback"
)

func newDevCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dev",
		GroupID: "run",
		Short:   "Run everything on loopback, with a demo customer and portal",
		Long: `Run the issuer on loopback with everything it needs: fresh keys, a demo
organization with customers and an API key, and a small shop and portal to open
in a browser. It needs no settings and leaves nothing behind.`,
	}
	addr := cmd.Flags().String("addr", "127.0.0.1:8080", "loopback `address` to listen on; port 0 takes a free one")
	operations := cmd.Flags().String("operations-addr", "", "loopback `address` for health and metrics (default none)")
	var level slog.Level
	cmd.Flags().TextVar(&level, "log-level", slog.LevelWarn, "log `level`: debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		public, err := listenLoopback(cmd, *addr, "--addr")
		if err != nil {
			return err
		}
		var second net.Listener
		if *operations != "" {
			if second, err = listenLoopback(cmd, *operations, "--operations-addr"); err != nil {
				return err
			}
		}
		return runDev(cmd, public, second, newLogger(cmd.ErrOrStderr(), level))
	}
	return cmd
}

func runDev(cmd *cobra.Command, public, operations net.Listener, logger *slog.Logger) error {
	// The reader of the welcome or the log may go away, such as head.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	d, err := demo.New(public, cmd.OutOrStdout(), logger)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- d.Run(ctx, operations) }()
	if err := d.Welcome(ctx); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	return <-served
}

// listenLoopback keeps the development server, which trusts every client, off
// the network.
func listenLoopback(cmd *cobra.Command, addr, name string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, misused(cmd, "%s %s: %w", name, addr, err)
	}
	if !loopback.Host(host) {
		return nil, misused(cmd, "%s %s is not a loopback address; use 127.0.0.1:PORT, or customersession serve", name, addr)
	}
	listener, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use; choose another one with %s 127.0.0.1:PORT, or port 0 for a free one", addr, name)
	}
	return listener, err
}
