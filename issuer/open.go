package issuer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/customersession/customersession/issuer/customers"
	"github.com/customersession/customersession/issuer/organizations"
	"github.com/customersession/customersession/issuer/reload"
	"github.com/customersession/customersession/keys"
)

// maxSecretFile bounds a file that holds a token or a connection string.
const maxSecretFile = 16 << 10

// Production is a server with the files and connections that it lives on.
type Production struct {
	*Server
	// follow keeps each file up to date until its context is done.
	follow []func(context.Context) error
	close  func()
}

// Open makes the production server: it reads every file, and reports all that
// is wrong with them at once. Call Run, which also follows the files.
func Open(ctx context.Context, settings Settings, logger *slog.Logger) (*Production, error) {
	p := &Production{close: func() {}}
	// The server, which counts reloads, is made after the files it reads.
	report := func(name string) func(reload.Event) {
		return func(e reload.Event) { p.report(ctx, logger, name, e) }
	}
	ring, keysErr := openFile(p, settings, settings.KeysFile, keys.Load, safeStep, report("keys"))
	registry, organizationsErr := openFile(p, settings, settings.OrganizationsFile, organizations.Parse, nil, report("organizations"))
	directory, customersErr := p.openDirectory(ctx, settings, report("customers"))
	if err := errors.Join(
		inFile("key manifest", keysErr), inFile("organizations", organizationsErr), inFile("customers", customersErr),
	); err != nil {
		p.close()
		return nil, err
	}
	var err error
	p.Server, err = New(Config{
		Issuer: settings.Issuer, Audience: settings.Audience,
		Lifetime: settings.SessionLifetime, MaxLifetime: settings.MaxSessionLifetime,
		Keys: ring.Current, Organizations: registry.Current, Customers: directory,
		KeyRate: settings.KeyRate, KeyBurst: settings.KeyBurst,
		StrangerRate: settings.StrangerRate, StrangerBurst: settings.StrangerBurst,
		TrustedProxies: settings.TrustedProxies, Logger: logger,
	})
	if err == nil {
		err = fits(ring.Current(), settings)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// fits checks the settings against the policy of the keys: no session may be
// asked for that no key may sign.
func fits(ring *keys.Ring, settings Settings) error {
	if longest := ring.Manifest().Policy.MaxLifetime; settings.MaxSessionLifetime > longest {
		return fmt.Errorf("%s_MAX_SESSION_LIFETIME is %s, but the key manifest's policy has max_lifetime %s; lower the one or raise the other",
			settingsPrefix, settings.MaxSessionLifetime, longest)
	}
	return nil
}

func inFile(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("loading %s: %w", what, err)
}

// safeStep refuses a key manifest that would make tokens invalid, or keep
// invalid ones good. Every replica judges by the time the manifest was made,
// not by its own clock, so that all of them decide alike.
func safeStep(old, next *keys.Ring) error {
	return keys.Check(old.Manifest(), next.Manifest(), next.Manifest().CreatedAt).Err()
}

// openFile loads a file and has it followed. Accept may refuse a later version
// because of the one in use; nil accepts all.
func openFile[T any](
	p *Production, settings Settings, path string,
	load func(io.Reader) (T, error), accept func(old, next T) error, report func(reload.Event),
) (*reload.File[T], error) {
	file, err := reload.Open(reload.Config[T]{
		Path: path, Load: load, Accept: accept, Poll: settings.ReloadInterval, OnReload: report,
	})
	if err != nil {
		return nil, err
	}
	p.follow = append(p.follow, file.Run)
	return file, nil
}

// report tells operators what became of a new version of a file.
func (p *Production) report(ctx context.Context, logger *slog.Logger, name string, e reload.Event) {
	p.metrics.reload(name, e)
	attrs := []slog.Attr{slog.String("file", name), slog.String("path", e.Path), slog.String("outcome", e.Kind.String())}
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	logger.LogAttrs(ctx, level, "file reloaded", attrs...)
}

// openDirectory makes the customer directory that was chosen.
//
//nolint:ireturn // which of the four it is, only the settings know
func (p *Production) openDirectory(ctx context.Context, settings Settings, report func(reload.Event)) (customers.Directory, error) {
	switch settings.Customers {
	case "file":
		file, err := openFile(p, settings, settings.CustomersFile, customers.LoadFile, nil, report)
		if err != nil {
			return nil, err
		}
		return liveFile{file}, nil
	case "http":
		token, err := readSecret(settings.CustomersTokenFile)
		if err != nil {
			return nil, err
		}
		return customers.NewHTTP(customers.HTTPConfig{
			BaseURL: settings.CustomersURL, Token: token, Timeout: settings.CustomersTimeout,
		})
	case "postgres":
		dsn, err := readSecret(settings.CustomersDSNFile)
		if err != nil {
			return nil, err
		}
		postgres, err := customers.NewPostgres(ctx, customers.PostgresConfig{
			DSN: dsn, ByID: settings.CustomersQueryID, ByExternalID: settings.CustomersQueryExternalID,
			Timeout: settings.CustomersTimeout,
		})
		if err != nil {
			return nil, err
		}
		p.close = postgres.Close
		return postgres, nil
	default:
		return customers.Request{}, nil
	}
}

// liveFile is the directory of whatever version of the file is in use.
type liveFile struct {
	file *reload.File[*customers.File]
}

// Find implements [customers.Directory].
func (l liveFile) Find(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	return l.file.Current().Find(ctx, q)
}

// readSecret reads a file that holds nothing but a secret; an empty path is no
// secret.
func readSecret(path string) (customers.Secret, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile))
	if err != nil {
		return "", err
	}
	secret := bytes.TrimSpace(content)
	if len(secret) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return customers.Secret(secret), nil
}

// Run serves like [Server.Run] and follows the files meanwhile.
func (p *Production) Run(ctx context.Context, config RunConfig) error {
	defer p.close()
	following, stop := context.WithCancel(ctx)
	defer stop()
	group, following := errgroup.WithContext(following)
	for _, follow := range p.follow {
		group.Go(func() error { return follow(following) })
	}
	group.Go(func() error {
		defer stop()
		return p.Server.Run(following, config)
	})
	return group.Wait()
}
