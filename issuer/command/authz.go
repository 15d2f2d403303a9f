package command

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/promverify"
)

// authzFlags are what authz is told beside whom to trust.
type authzFlags struct {
	config                               authz.Config
	algorithms, scopes, addr, operations string
	drainDelay                           time.Duration
	level                                slog.Level
}

func (p program) runAuthz(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	var f authzFlags
	trust := verify.Config{}
	flags.StringVar(&trust.Issuer, "issuer", "", "`URL` of the issuer, as in its tokens")
	flags.StringVar(&trust.Audience, "audience", issuer.DefaultAudience, "`audience` that tokens must be for")
	flags.StringVar(&trust.JWKSetURL, "jwks-url", "", "`URL` of the issuer's keys; empty for the one below --issuer")
	flags.StringVar(&trust.SnapshotFile, "snapshot-file", "", "`file` that keeps the keys for a restart during an outage")
	flags.StringVar(&f.algorithms, "algorithms", "ES256,EdDSA", "comma-separated `algorithms` to accept")
	flags.StringVar(&f.scopes, "scope", "", "comma-separated `scopes` that a session must have")
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8090", "`address` where gateways ask")
	flags.StringVar(&f.operations, "operations-addr", "", "`address` for health and metrics; empty for none")
	flags.BoolVar(&f.config.Cookie, "cookie", false, "also accept the portal's cookie; the gateway must set X-Forwarded-Method")
	flags.IntVar(&f.config.Status, "status", 204, "`status` that lets a request pass: 204, or 200 for Envoy")
	flags.DurationVar(&f.drainDelay, "drain-delay", 0, "how long to go on answering after being told to stop")
	flags.TextVar(&f.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := parse(flags, args); err != nil {
		return err
	}
	if trust.Issuer == "" {
		return command.Misused("authz needs --issuer, the URL of the issuer as in its tokens")
	}
	for name := range strings.SplitSeq(f.algorithms, ",") {
		trust.Algorithms = append(trust.Algorithms, jwk.Algorithm(strings.TrimSpace(name)))
	}
	f.config.Scopes = strings.FieldsFunc(f.scopes, func(r rune) bool { return r == ',' || r == ' ' })
	return p.serveAuthz(ctx, newLogger(env.Err, f.level), trust, f)
}

func (p program) serveAuthz(ctx context.Context, logger *slog.Logger, trust verify.Config, f authzFlags) error {
	registry := prometheus.NewRegistry()
	observer, err := promverify.New(registry)
	if err != nil {
		return err
	}
	trust.Observer, trust.Logger = observer, logger
	f.config.Metrics, f.config.Logger = promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), logger
	if f.config.Verifier, err = verify.New(trust); err != nil {
		return command.UsageError{Err: err}
	}
	defer f.config.Verifier.Close()
	server, err := authz.New(f.config)
	if err != nil {
		return command.UsageError{Err: err}
	}
	run := authz.RunConfig{DrainDelay: f.drainDelay}
	var listen net.ListenConfig
	if run.Public, err = listen.Listen(ctx, "tcp", f.addr); err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	operations := ""
	if f.operations != "" {
		if run.Operations, err = listen.Listen(ctx, "tcp", f.operations); err != nil {
			return fmt.Errorf("--operations-addr: %w", err)
		}
		operations = run.Operations.Addr().String()
	}
	logger.Info("listening", "addr", run.Public.Addr().String(), "operations_addr", operations,
		"issuer", trust.Issuer, "version", p.version())
	return server.Run(ctx, run)
}
