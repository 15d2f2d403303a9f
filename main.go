// Command customersession issues customer sessions: signed links into a
// customer portal that any service can verify without a look-up.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/demo"
	"github.com/customersession/customersession/issuer/organizations"
	"github.com/customersession/customersession/issuer/probe"
	"github.com/customersession/customersession/issuer/release"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/promverify"
)

func main() {
	err := run(context.Background(), os.Args[1:], command.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
	})
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "customersession:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode: 0 done, 1 failed, 2 misused.
func exitCode(err error) int {
	var usage command.UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

func commands() []command.Command {
	all := []command.Command{
		command.New("dev", "[--addr HOST:PORT]", "run everything on loopback, with a demo customer and portal", runDev),
		command.New("serve", "", "run the production server, configured by the environment", runServe),
		command.New("config", "", "print the table of settings that serve reads", runConfig),
		command.New("apikey new", "--name NAME [--scope SCOPE,…]", "make an API key for an organization", runAPIKeyNew),
		command.New("token inspect", "[--issuer URL]", "show the token on standard input, verified or not", runTokenInspect),
		command.New("probe", "[--url URL] [--timeout DURATION]", "ask a running server whether it is ready", runProbe),
		command.New("authz", "--issuer URL [--audience NAME]", "tell gateways whose session a request belongs to", runAuthz),
		command.New("version", "[--json | --sbom] [FILE]", "print version and commit of this binary or of one in a file", runVersion),
	}
	return slices.Insert(all, 3, command.All()...)
}

func run(ctx context.Context, args []string, env command.Env) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	for _, c := range commands() {
		words := strings.Fields(c.Name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		flags.SetOutput(env.Err)
		flags.Usage = func() {
			fmt.Fprintf(env.Err, "usage: customersession %s %s\n\n%s\n", c.Name, c.Args, c.Short)
			flags.PrintDefaults()
		}
		return c.Run(ctx, env, flags, args[len(words):])
	}
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		printHelp(env.Out)
		return nil
	}
	printHelp(env.Err)
	return command.Misused("unknown command %q", args[0])
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, "Customer sessions: signed links into a portal, verified without a look-up.\n\nusage: customersession COMMAND\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.Name, c.Short)
	}
	fmt.Fprint(w, "\ncustomersession COMMAND -h tells more.\n")
}

// parse reads flags and refuses anything left over.
func parse(flags *flag.FlagSet, args []string) error {
	_, err := command.Parse(flags, args, 0)
	return err
}

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

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

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

func runServe(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) (err error) {
	if err := parse(flags, args); err != nil {
		return err
	}
	settings, err := issuer.LoadSettings()
	if err != nil {
		return command.Misused("wrong settings:\n%w", err)
	}
	settings.Version = running().Build.Version
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
		"issuer", settings.Issuer, "version", version())
	return server.Run(ctx, issuer.RunConfig{
		Public: public, Operations: operations,
		DrainDelay: settings.DrainDelay, DrainTimeout: settings.DrainTimeout,
	})
}

func runConfig(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	if err := parse(flags, args); err != nil {
		return err
	}
	return issuer.WriteSettings(env.Out)
}

func runAPIKeyNew(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	name := flags.String("name", "", "`name` of the key, unique in its organization")
	scopes := flags.String("scope", string(organizations.ScopeWrite), "comma-separated `scopes`: customer_sessions:write, customer_sessions:introspect")
	lasts := flags.Duration("expires-in", 0, "how long the key is valid, e.g. 2160h; 0 for ever")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if err := parse(flags, args); err != nil {
		return err
	}
	var list []organizations.Scope
	for scope := range strings.SplitSeq(*scopes, ",") {
		list = append(list, organizations.Scope(strings.TrimSpace(scope)))
	}
	var expires time.Time
	if *lasts != 0 {
		expires = time.Now().Add(*lasts)
	}
	secret, entry, err := organizations.NewAPIKey(*name, list, expires)
	if err != nil {
		return command.UsageError{Err: err}
	}
	if *asJSON {
		return json.NewEncoder(env.Out).Encode(map[string]any{"secret": secret.Reveal(), "entry": json.RawMessage(entry)})
	}
	fmt.Fprintf(env.Out, "Secret, shown only now; give it to whoever asks for sessions:\n\n  %s\n\n", secret.Reveal())
	fmt.Fprintf(env.Out, "Add this to api_keys of the organization:\n\n%s\n", entry)
	return nil
}

func runTokenInspect(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	issuerURL := flags.String("issuer", "", "verify with the keys of the issuer at this `URL`")
	audience := flags.String("audience", issuer.DefaultAudience, "`audience` to verify for")
	if err := parse(flags, args); err != nil {
		return err
	}
	input, err := io.ReadAll(io.LimitReader(env.In, verify.MaxTokenLength+2))
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(input))
	if *issuerURL == "" {
		return inspectUnverified(env, token)
	}
	verifier, err := verify.New(verify.Config{Issuer: *issuerURL, Audience: *audience, Algorithms: jwk.Algorithms()})
	if err != nil {
		return command.UsageError{Err: err}
	}
	session, err := verifier.Verify(ctx, token)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Err, "verified")
	return command.PrintJSON(env.Out, session)
}

func runProbe(ctx context.Context, _ command.Env, flags *flag.FlagSet, args []string) error {
	url := flags.String("url", probe.DefaultURL, "`URL` of the readiness to ask for")
	timeout := flags.Duration("timeout", 2*time.Second, "how long to wait for the answer")
	if err := parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return probe.Ready(ctx, *url)
}

// authzFlags are what authz is told beside whom to trust.
type authzFlags struct {
	config                               authz.Config
	algorithms, scopes, addr, operations string
	drainDelay                           time.Duration
	level                                slog.Level
}

func runAuthz(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
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
	return serveAuthz(ctx, newLogger(env.Err, f.level), trust, f)
}

func serveAuthz(ctx context.Context, logger *slog.Logger, trust verify.Config, f authzFlags) error {
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
		"issuer", trust.Issuer, "version", version())
	return server.Run(ctx, run)
}

func inspectUnverified(env command.Env, token string) error {
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return errors.New("standard input is not a token of three segments")
	}
	var parts struct {
		Header json.RawMessage `json:"header"`
		Claims json.RawMessage `json:"claims"`
	}
	for i, part := range []*json.RawMessage{&parts.Header, &parts.Claims} {
		text, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err != nil || !json.Valid(text) {
			return fmt.Errorf("segment %d is not JSON in base64url", i+1)
		}
		*part = text
	}
	fmt.Fprintln(env.Err, "NOT VERIFIED: anybody can write this; use --issuer URL to verify")
	return command.PrintJSON(env.Out, parts)
}

func runVersion(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	asJSON := flags.Bool("json", false, "print one JSON object")
	sbom := flags.Bool("sbom", false, "print the software bill of materials, CycloneDX 1.6 JSON")
	files, err := command.Parse(flags, args, 1)
	if err != nil {
		return err
	}
	binary := running()
	if len(files) == 1 {
		if binary, err = release.Open(files[0]); err != nil {
			return err
		}
	}
	switch {
	case *sbom && *asJSON:
		return command.Misused("--sbom is JSON already; leave --json out")
	case *sbom:
		return binary.WriteSBOM(env.Out)
	case *asJSON:
		return command.PrintJSON(env.Out, binary.Build)
	default:
		return binary.Build.Write(env.Out)
	}
}

// What the linker writes where there is no repository to read it from, as in
// the build of an image:
//
//	-ldflags "-X main.linkedVersion=v1.2.3 -X main.linkedCommit=HASH"
var linkedVersion, linkedCommit string //nolint:gochecknoglobals // the linker can write nothing else

func running() release.Binary {
	return release.Running(release.Linked{Version: linkedVersion, Commit: linkedCommit})
}

// version is for the log of the start.
func version() string { return running().Build.String() }
