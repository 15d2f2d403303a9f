package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/promverify"
)

const commandLong = `Answer gateways that ask whose session a request belongs to: nginx, Caddy and
others that can ask. It answers 204 and the headers X-Customer-Id, X-Session-Id and
X-Organization-Id for a good token in the Authorization header of the request, with
X-Member-Id and X-Member-Role for a member of a team, and 401 for any other.
deploy/gateways has tested configurations for nginx and Caddy, and what to give to
others.`

// options are the flags of the command.
type options struct {
	trust      verify.Config
	config     Config
	algorithms []string
	scopes     string
	addr       string
	operations string
	drainDelay time.Duration
	level      slog.Level
}

// NewCommand returns the command "authz", which runs a [Server]. The log names
// version as the one that runs.
func NewCommand(version string) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "authz --issuer URL",
		Short:   "Answer gateways that ask whose session a request belongs to",
		Long:    commandLong,
		Example: "  customersession authz --issuer https://sessions.example.com --scope customer_portal:write",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The end of a terminal or of the log's reader is not ours.
			signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
			log := newLogWriter(cmd.ErrOrStderr())
			defer log.Close(time.Second)
			logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: o.level}))
			server, err := o.newServer(logger)
			if err != nil {
				return cmd.FlagErrorFunc()(cmd, err)
			}
			defer o.config.Verifier.Close()
			return o.serve(cmd.Context(), server, logger.With("version", version))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.trust.Issuer, "issuer", "", "`URL` of the issuer, exactly as in its tokens (required)")
	flags.StringVar(&o.trust.Audience, "audience", "customer-portal", "`audience` of the tokens to accept")
	flags.StringVar(&o.trust.JWKSetURL, "jwks-url", "", "`URL` of the issuer's JWK Set (default below --issuer)")
	flags.StringVar(&o.trust.RevocationsURL, "revocations-url", "", "`URL` of the issuer's feed of revocations (default beside --jwks-url)")
	flags.DurationVar(&o.trust.MaxRevocationAge, "max-revocation-age", 0, "how old the knowledge of ended sessions may be (default the feed's limit; negative: do not follow it)")
	flags.StringVar(&o.trust.SnapshotFile, "snapshot-file", "", "`file` that keeps the keys, and another one the revocations, for a restart while the issuer is down")
	flags.StringSliceVar(&o.algorithms, "algorithms", []string{"ES256", "EdDSA"}, "comma-separated `algorithms` to accept")
	flags.StringVar(&o.scopes, "scope", "", "comma-separated `scopes` that a session must have")
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8090", "`address` where gateways ask")
	flags.StringVar(&o.operations, "operations-addr", "", "`address` for health and metrics (default none)")
	flags.BoolVar(&o.config.Cookie, "cookie", false, "also accept the portal's cookie; the gateway must set X-Forwarded-Method")
	flags.IntVar(&o.config.Status, "status", http.StatusNoContent, "`status` that lets a request pass: 204, or 200 for Envoy")
	flags.DurationVar(&o.drainDelay, "drain-delay", 0, "how long to go on answering after SIGTERM")
	flags.TextVar(&o.level, "log-level", slog.LevelInfo, "log `level`: debug, info, warn or error")
	return cmd
}

// newServer returns the server, or an error in the flags.
func (o *options) newServer(logger *slog.Logger) (*Server, error) {
	if o.trust.Issuer == "" {
		return nil, errors.New("authz needs --issuer, the URL of the issuer as in its tokens")
	}
	for _, name := range o.algorithms {
		o.trust.Algorithms = append(o.trust.Algorithms, jwk.Algorithm(strings.TrimSpace(name)))
	}
	o.config.Scopes = strings.FieldsFunc(o.scopes, func(r rune) bool { return r == ',' || r == ' ' })
	registry := prometheus.NewRegistry()
	observer, err := promverify.New(registry)
	if err != nil {
		return nil, err
	}
	o.trust.Observer, o.trust.Logger = observer, logger
	o.config.Metrics, o.config.Logger = promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), logger
	if o.config.Verifier, err = verify.New(o.trust); err != nil {
		return nil, err
	}
	server, err := New(o.config)
	if err != nil {
		o.config.Verifier.Close()
	}
	return server, err
}

// serve listens and runs the server until ctx is done.
func (o *options) serve(ctx context.Context, server *Server, logger *slog.Logger) error {
	run := RunConfig{DrainDelay: o.drainDelay}
	var listen net.ListenConfig
	var err error
	if run.Public, err = listen.Listen(ctx, "tcp", o.addr); err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	operations := ""
	if o.operations != "" {
		if run.Operations, err = listen.Listen(ctx, "tcp", o.operations); err != nil {
			return fmt.Errorf("--operations-addr: %w", err)
		}
		operations = run.Operations.Addr().String()
	}
	logger.Info("listening", "addr", run.Public.Addr().String(), "operations_addr", operations, "issuer", o.trust.Issuer)
	err = server.Run(ctx, run)
	if err != nil {
		logger.Error("stopped", "error", err.Error())
		return err
	}
	logger.Info("stopped")
	return nil
}
