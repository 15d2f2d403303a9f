package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/customersession/customersession/issuer/internal/demo"
	"github.com/customersession/customersession/keys/command"
)

func runDev(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	addr := flags.String("addr", "127.0.0.1:8080", "loopback `address` to listen on; port 0 takes a free one")
	operations := flags.String("operations-addr", "", "loopback `address` for health and metrics; empty for none")
	level := slog.LevelWarn
	flags.TextVar(&level, "log-level", level, "debug, info, warn or error")
	if err := parse(flags, args); err != nil {
		return err
	}
	public, err := listenLoopback(ctx, *addr, "--addr")
	if err != nil {
		return err
	}
	var second net.Listener
	if *operations != "" {
		if second, err = listenLoopback(ctx, *operations, "--operations-addr"); err != nil {
			return err
		}
	}
	d, err := demo.New(public, newLogger(env.Err, level))
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- d.Run(ctx, second) }()
	if err := d.Welcome(ctx, env.Out); err != nil {
		return err
	}
	return <-served
}

// listenLoopback keeps the development server, which trusts everybody, off
// the network.
func listenLoopback(ctx context.Context, addr, name string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, command.Misused("%s %s: %w", name, addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, command.Misused("%s %s is not a loopback address; use 127.0.0.1:PORT, or customersession serve", name, addr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use; choose another one with %s 127.0.0.1:PORT, or port 0 for a free one", addr, name)
	}
	return listener, err
}
