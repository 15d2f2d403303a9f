package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
)

// Names of the sockets that systemd passes: FileDescriptorName= of their units.
const (
	publicSocket     = "public"
	operationsSocket = "operations"
)

// listen opens both listeners, or takes the sockets that systemd passed. Those
// stay open between two processes: clients that connect meanwhile wait.
func listen(cmd *cobra.Command, settings issuer.Settings) (public, operations net.Listener, err error) {
	if sockets := activation.Files(true); len(sockets) > 0 {
		if public, operations, err = takeSockets(sockets); err != nil {
			return nil, nil, misused(cmd, "cannot start:\nsockets of systemd: %w", err)
		}
		return public, operations, nil
	}
	return openListeners(cmd.Context(), settings)
}

func openListeners(ctx context.Context, settings issuer.Settings) (public, operations net.Listener, err error) {
	var config net.ListenConfig
	if public, err = config.Listen(ctx, "tcp", settings.Addr); err != nil {
		return nil, nil, fmt.Errorf("CUSTOMERSESSION_ADDR: %w", err)
	}
	if operations, err = config.Listen(ctx, "tcp", settings.OperationsAddr); err != nil {
		return nil, nil, fmt.Errorf("CUSTOMERSESSION_OPERATIONS_ADDR: %w", err)
	}
	return public, operations, nil
}

// takeSockets returns the listeners of two sockets, which it tells apart by their
// names (sd_listen_fds(3)).
func takeSockets(sockets []*os.File) (public, operations net.Listener, err error) {
	names := make([]string, len(sockets))
	for i, socket := range sockets {
		names[i] = socket.Name()
	}
	at, also := slices.Index(names, publicSocket), slices.Index(names, operationsSocket)
	if len(names) != 2 || at < 0 || also < 0 {
		return nil, nil, fmt.Errorf("got %q, want one named %s and one named %s; give each a .socket unit of its own that sets FileDescriptorName=",
			names, publicSocket, operationsSocket)
	}
	public, err = takeSocket(sockets[at])
	operations, err2 := takeSocket(sockets[also])
	return public, operations, errors.Join(err, err2)
}

func takeSocket(socket *os.File) (net.Listener, error) {
	listener, err := net.FileListener(socket) // of a duplicate
	if err = errors.Join(err, socket.Close()); err != nil {
		return nil, fmt.Errorf("%s is not listening: %w; set ListenStream= in its .socket unit", socket.Name(), err)
	}
	if _, ok := listener.(*net.TCPListener); !ok {
		// The limits for each client address would be for all clients together.
		return nil, fmt.Errorf("%s has the address %q, want TCP; set ListenStream= to a port in its .socket unit", socket.Name(), listener.Addr())
	}
	return listener, nil
}
