package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/customersession/customersession/verify"
)

// Limits that keep slow clients from holding connections. The server reads only
// headers, and an answer waits for keys for 2 seconds at most.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeader is what nginx passes on; net/http adds 4 KiB.
	maxHeader = 32 << 10
	// maxConnections bounds the memory of each listener. An answer takes less
	// than a millisecond, so a gateway that needs more waits a moment.
	maxConnections = 1024

	// drainTimeout is how long requests in flight may take to finish.
	drainTimeout = 10 * time.Second
	// readyTimeout is how long a probe waits for keys and revocations.
	readyTimeout = time.Second
)

// Config configures a [Server]. Verifier is required; every other zero field
// means its documented default.
type Config struct {
	// Verifier verifies the tokens. The caller closes it.
	Verifier *verify.Verifier
	// Scopes lists the scopes that a session must have. Default: none.
	Scopes []string
	// Cookie also accepts the cookie of [verify.Verifier.NewSignIn], if there is no
	// Authorization header. The gateway must then forward Host and the client's
	// Cookie, Origin, Sec-Fetch-Site and Sec-WebSocket-Key headers, and set
	// X-Forwarded-Method to the client's method: without it, each request counts as
	// one that changes something, and must come from a page of the same origin. So
	// must every request with an Origin, because it may be a WebSocket handshake of
	// which the gateway shows no more.
	Cookie bool
	// Status is the status of a positive answer: 204, or 200 for Envoy, which
	// treats any other one as a refusal. Default: 204.
	Status int
	// Metrics answers /metrics of [Server.Operations]. Default: 404.
	Metrics http.Handler
	// Logger gets a line when the server has keys and when it stops, and one at
	// level debug for each refused request, with the reason and nothing from the
	// token. Default: none.
	Logger *slog.Logger
}

// A Server answers gateways. It is safe for concurrent use.
type Server struct {
	verifier *verify.Verifier
	scopes   []string
	cookie   bool
	status   int
	metrics  http.Handler
	logger   *slog.Logger
	draining atomic.Bool
}

// New returns a server, or an error if config is invalid. It does no I/O.
func New(config Config) (*Server, error) {
	if config.Verifier == nil {
		return nil, errors.New("authz: config has no Verifier")
	}
	if config.Status == 0 {
		config.Status = http.StatusNoContent
	}
	if config.Status != http.StatusNoContent && config.Status != http.StatusOK {
		return nil, fmt.Errorf("authz: status %d does not let a request pass; use 204 or 200", config.Status)
	}
	if config.Metrics == nil {
		config.Metrics = http.NotFoundHandler()
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		verifier: config.Verifier, scopes: slices.Clone(config.Scopes), cookie: config.Cookie,
		status: config.Status, metrics: config.Metrics, logger: config.Logger,
	}, nil
}

// RunConfig configures [Server.Run].
type RunConfig struct {
	// Public is the listener for gateways. Run closes it, and has at most 1,024
	// connections open at a time.
	Public net.Listener
	// Operations is the listener for probes and metrics. Run closes it. Default:
	// none.
	Operations net.Listener
	// DrainDelay is how long the server keeps answering after ctx is done, while
	// it reports that it is not ready: the gateway beside it stops at the same
	// time, and finishes its own requests. Default: none.
	DrainDelay time.Duration
}

// Run serves until ctx is done, and then stops in order: it becomes unready and
// closes each connection with its next answer, accepts no new connections, and
// finishes the requests in flight. It returns nil after that, or the error that
// made it stop early. It fetches keys and asks which sessions have ended at the
// start, before the first request.
func (s *Server) Run(ctx context.Context, config RunConfig) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var warming sync.WaitGroup
	defer warming.Wait()
	defer cancel(nil)
	warming.Go(func() { s.warm(ctx) })
	servers := []*http.Server{s.serve(config.Public, s.partWhileDraining(s.Handler()), cancel)}
	if config.Operations != nil {
		servers = append(servers, s.serve(config.Operations, s.Operations(), cancel))
	}
	<-ctx.Done()
	failure := context.Cause(ctx)
	if errors.Is(failure, context.Canceled) {
		failure = nil
		s.wait(ctx, config.DrainDelay)
	}
	return errors.Join(failure, s.drain(ctx, servers))
}

// partWhileDraining makes answers close their connections while the server
// drains: a gateway that reused one could send a request as it closes (RFC 9112,
// Section 9.6).
func (s *Server) partWhileDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// warm fetches keys and revocations, for as long as it takes.
func (s *Server) warm(ctx context.Context) {
	if err := s.verifier.Ready(ctx); err == nil {
		s.logger.LogAttrs(ctx, slog.LevelInfo, "keys are there", slog.Any("kids", s.verifier.Health().KeyIDs))
	}
}

// serve serves a listener. Its failure stops the whole server.
func (s *Server) serve(listener net.Listener, handler http.Handler, failed context.CancelCauseFunc) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// net/http logs clients that misbehave below HTTP.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(netutil.LimitListener(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serving %s: %w", listener.Addr(), err))
		}
	}()
	return server
}

// wait gives probes time to see that the server is not ready.
func (s *Server) wait(ctx context.Context, delay time.Duration) {
	s.draining.Store(true)
	s.logger.LogAttrs(ctx, slog.LevelInfo, "draining", slog.String("delay", delay.String()))
	time.Sleep(delay)
}

// drain stops the servers, the one for gateways first.
func (s *Server) drain(ctx context.Context, servers []*http.Server) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	var problems []error
	for _, server := range servers {
		if err := server.Shutdown(limit); err != nil {
			problems = append(problems, errors.New("requests were still in flight after 10 s"), server.Close())
		}
	}
	return errors.Join(problems...)
}
