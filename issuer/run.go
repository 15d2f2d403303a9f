package issuer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/customersession/customersession/issuer/internal/connections"
)

// Limits that keep slow clients from holding connections. Every answer is
// small and made in memory or within the customer directory's time-out.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 20 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 20 * time.Second
	// refusedTimeout is for the rest of the body of a refused request.
	refusedTimeout = time.Second
)

// Limits of memory: a connection costs up to 150 KiB while a header comes in.
const (
	maxHeader             = 16 << 10 // net/http adds 4 KiB
	maxConnections        = 1024
	maxConnectionsClient  = 256
	operationsConnections = 64
)

// RunConfig configures [Server.Run].
type RunConfig struct {
	// Public and Operations are the two listeners. Run closes them.
	// Operations may be nil.
	Public, Operations net.Listener
	// Handler serves the public listener. Default: [Server.Handler].
	Handler http.Handler
	// DrainDelay is how long the server accepts requests after it reports that it
	// is not ready, so that load balancers notice. Default: 0.
	DrainDelay time.Duration
	// DrainTimeout is for the requests in flight after that. Default: 20
	// seconds.
	DrainTimeout time.Duration
	// ReadTimeout is for a request with its body. Default: 10 seconds.
	ReadTimeout time.Duration
	// LogDropped returns how many lines of the log were dropped. Default: not
	// known.
	LogDropped func() int
}

// Run serves and follows the files until ctx is done. Then it stops in order:
// not ready and each answer the last one on its connection, no new connections,
// requests in flight finished, their traces exported. It returns nil after
// that, or the error that made it stop early.
func (s *Server) Run(ctx context.Context, config RunConfig) error {
	defer s.closeDirectory()
	if config.Handler == nil {
		config.Handler = s.Handler()
	}
	if config.DrainTimeout == 0 {
		config.DrainTimeout = drainTimeout
	}
	if config.ReadTimeout == 0 {
		config.ReadTimeout = readTimeout
	}
	defer s.follow(ctx)()
	group, failed := errgroup.WithContext(ctx)
	limited := connections.New(config.Public, s.connections)
	s.metrics.followConnections(limited)
	s.metrics.followFeed(s.waiting)
	if config.LogDropped != nil {
		s.metrics.followLog(config.LogDropped)
	}
	group.Go(func() error { return s.reportConnections(failed, limited) })
	public := s.newHTTPServer(s.closeWhileDraining(config.Handler), config.ReadTimeout)
	group.Go(serve(public, limited))
	operations := s.newHTTPServer(s.operations(), readTimeout)
	if config.Operations != nil {
		group.Go(serve(operations, connections.New(config.Operations, connections.Limits{
			Total: operationsConnections, PerClient: operationsConnections, Patience: headerTimeout,
		})))
	}
	if len(s.files.all) > 0 {
		s.logContents(ctx)
	}
	group.Go(func() error {
		s.rememberKeys(failed)
		return nil
	})
	for _, file := range s.files.all {
		group.Go(func() error { return file.run(failed) })
	}
	// Also when one part failed: the others must not go on alone.
	<-failed.Done()
	err := s.drain(ctx, config, limited, public, operations)
	return errors.Join(group.Wait(), err)
}

// follow follows the log of revocations until the result is called: also while the
// server drains.
func (s *Server) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var following sync.WaitGroup
	following.Go(func() { s.revocations.Run(ctx) })
	return func() {
		cancel()
		following.Wait()
		s.closeRevocations()
	}
}

// closeRevocations closes the log, and the redemptions beside it.
func (s *Server) closeRevocations() {
	if s.revocationLog != nil {
		s.revocationLog.Close()
	}
	s.redeemer.Close()
}

// closeWhileDraining closes the connection after each answer while the server
// drains. A client that kept it would send its next request into the end of the
// connection (RFC 9112, Section 9.6).
func (s *Server) closeWhileDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) newHTTPServer(handler http.Handler, read time.Duration) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: min(headerTimeout, read), ReadTimeout: read,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// Else it answers OPTIONS * by itself, without a line in the log.
		DisableGeneralOptionsHandler: true,
		// These messages are about clients that break the protocol.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
}

func serve(server *http.Server, listener *connections.Listener) func() error {
	server.ConnState, server.ConnContext = listener.Track, connections.Context
	return func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// reportConnections logs, once a minute, how many connections were closed to make
// room for others.
func (s *Server) reportConnections(ctx context.Context, listener *connections.Listener) error {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	_, before := listener.Count()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		open, closed := listener.Count()
		if !maps.Equal(before, closed) {
			attrs := []slog.Attr{slog.Int("open", open)}
			for limit, count := range closed {
				attrs = append(attrs, slog.Int(limit, count-before[limit]))
			}
			s.logger.LogAttrs(ctx, slog.LevelWarn, "connections closed to make room for others", attrs...)
		}
		before = closed
	}
}

// drain stops the public server before the one for operators, which reports that
// the server is not ready. Every connection that was accepted gets its answer, so
// clients notice nothing if another process takes over the listener.
func (s *Server) drain(ctx context.Context, config RunConfig, accepted *connections.Listener, public, operations *http.Server) error {
	s.draining.Store(true)
	close(s.stopping)
	s.logger.LogAttrs(ctx, slog.LevelInfo, "draining", slog.String("delay", config.DrainDelay.String()))
	if config.DrainDelay > 0 && ctx.Err() != nil {
		time.Sleep(config.DrainDelay)
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.DrainTimeout)
	defer cancel()
	_ = accepted.Stop(limit) // what did not stop, Shutdown reports
	err := public.Shutdown(limit)
	if err != nil {
		err = errors.Join(errors.New("requests were still in flight after the drain timeout"), public.Close())
	}
	// Within the same limit. Lost traces do not make the shutdown fail.
	if err := s.tracer.Shutdown(limit); err != nil {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "traces are lost", slog.String("error", err.Error()))
	}
	return errors.Join(err, operations.Close())
}
