package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/reload"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/issuer/internal/tracing"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// maxKeysFile is more than [keys.ParseManifest] accepts.
const maxKeysFile = 2 << 20

// Open makes the production server: metrics, then the files that report to
// them, then the server that lives on the files. The error names everything
// that is wrong with any file. Signers finds the private parts of keys that are
// not in the manifest; without it, a manifest with such a key is refused. Call
// Run, which also follows the files.
func Open(ctx context.Context, settings Settings, signers keys.OpenSigner, logger *slog.Logger) (*Server, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	var server *Server // when files change
	metrics := newMetrics()
	files := &followedFiles{metrics: metrics, logger: logger, secrets: secretFiles(settings)}
	keySets, keysErr := openFile(files, keysFile, reload.Config[*keySet]{
		Path: settings.KeysFile, Load: parseKeys, Accept: acceptKeys(settings, func(m *keys.Manifest) error { return server.revives(m) }), Prepare: openKeys(signers),
		Compare: compareKeys,
	}, contents[*keySet]{count: countKeys, warn: warnOfKeys(settings.KeysFile)})
	registry, organizationsErr := openFile(files, organizationsFile, reload.Config[*organizations.Registry]{
		Path: settings.OrganizationsFile, Load: parseOrganizations(settings),
		Accept: func(_, next *organizations.Registry) error {
			return server.checkRedemptions(context.WithoutCancel(ctx), next)
		},
		Prepare: func(registry *organizations.Registry) error { return reload.Transient(checkWebhookSecrets(registry)) },
		Compare: compareOrganizations, KeepMost: true,
	}, contents[*organizations.Registry]{count: countOrganizations, warn: warnOfOrganizations(settings.OrganizationsFile)})
	log, redemptions, revocationsErr := openRevocations(ctx, settings)
	directory, closeDirectory, customersErr := openDirectory(ctx, settings, files, registry)
	tracer, tracesErr := tracing.New(ctx, tracing.Config{
		Endpoint: settings.TracesEndpoint, HeadersFile: settings.TracesHeadersFile,
		Version: settings.Version, Logger: logger,
	})
	err := errors.Join(
		inFile("key manifest", keysErr), inFile("organizations", organizationsErr), inFile("customers", customersErr),
		inFile("revocations", revocationsErr), inFile("traces", tracesErr), files.checkSecrets(),
	)
	if err == nil {
		err = checkMaxLifetime(keySets.Current().manifest, settings)
	}
	if err == nil {
		server, err = newServer(Config{
			Issuer: settings.Issuer, Audience: settings.Audience,
			Lifetime: settings.SessionLifetime, MaxLifetime: settings.MaxSessionLifetime,
			Keys: func() *keys.Ring { return keySets.Current().ring }, Organizations: registry.Current, Customers: directory,
			Connections: settings.Connections, ConnectionsPerAddress: settings.ConnectionsPerAddress,
			KeyRate: settings.KeyRate, KeyBurst: settings.KeyBurst,
			SessionRate: settings.SessionRate, SessionBurst: settings.SessionBurst,
			AddressRate: settings.AddressRate, AddressBurst: settings.AddressBurst,
			AnonymousRate: settings.AnonymousRate, AnonymousBurst: settings.AnonymousBurst,
			Revocations: log, Redemptions: redemptions, MaxRevocationAge: settings.RevocationsMaxAge,
			TrustedProxies: settings.TrustedProxies, Logger: logger, Tracer: tracer,
		}, metrics)
	}
	if err == nil {
		err = server.readRevocations(ctx)
	}
	if err != nil {
		closeDirectory()
		if log != nil {
			log.Close()
			redemptions.Close()
		}
		return nil, errors.Join(err, tracer.Shutdown(ctx))
	}
	server.files, server.closeDirectory = files, closeDirectory
	return server, nil
}

// openRevocations opens the log of revocations and the redemptions beside it; both
// are nil if there is none.
//
//nolint:ireturn // which ones is the choice of the settings
func openRevocations(ctx context.Context, settings Settings) (revocations.Log, revocations.Redemptions, error) {
	config := settings.revocationLog()
	log, err := revocations.Open(ctx, config)
	if err != nil || log == nil {
		return nil, nil, err
	}
	redemptions, err := revocations.OpenRedemptions(ctx, config)
	if err != nil {
		log.Close()
		return nil, nil, err
	}
	return log, redemptions, nil
}

// readRevocations reads the log of revocations before the server answers anything. A
// log that is away may come back; one that will give the same answer tomorrow is an
// error, and so is a key manifest that would bring a revoked key back.
func (s *Server) readRevocations(ctx context.Context) error {
	if err := s.revocations.Refresh(ctx); errors.Is(err, revocations.ErrRefused) {
		return fmt.Errorf("reading revocations: %w", err)
	}
	if err := s.checkRedemptions(ctx, s.organizations()); err != nil {
		return err
	}
	return inFile("key manifest", s.revives(s.keys().Manifest()))
}

// checkRedemptions returns why the codes of organizations could never be exchanged:
// the store of redemptions is not as it must be. One that is away may come back.
func (s *Server) checkRedemptions(ctx context.Context, registry *organizations.Registry) error {
	organization := linksWithCodes(registry)
	if organization == nil {
		return nil
	}
	if err := s.redeemer.Check(ctx); errors.Is(err, revocations.ErrRefused) {
		return fmt.Errorf("the links of organization %s hold codes: %w", organization.Slug, err)
	}
	return nil
}

// linksWithCodes returns an organization whose links hold codes, or nil.
func linksWithCodes(registry *organizations.Registry) *organizations.Organization {
	for organization := range registry.Organizations() {
		if organization.LinksHoldCodes() {
			return organization
		}
	}
	return nil
}

// parseOrganizations returns what reads the organizations file, and refuses one that
// does not fit the settings.
func parseOrganizations(settings Settings) func(io.Reader) (*organizations.Registry, error) {
	return func(r io.Reader) (*organizations.Registry, error) {
		registry, err := organizations.Parse(r)
		if err != nil {
			return nil, err
		}
		organization := linksWithCodes(registry)
		if organization == nil {
			return registry, nil
		}
		var problems []error
		if settings.Revocations == string(revocations.EngineOff) {
			problems = append(problems, fmt.Errorf(`organization %s has "link": "code", which needs a revocation log: set %s_REVOCATIONS to file or postgres, or leave "link" out`,
				organization.Slug, settingsPrefix))
		}
		if settings.Customers == "request" {
			problems = append(problems, fmt.Errorf(`organization %s has "link": "code", but with %s_CUSTOMERS=request the customer of a code cannot be looked up: choose another directory, or leave "link" out`,
				organization.Slug, settingsPrefix))
		}
		if settings.Audience == settings.Issuer {
			// A code is for the issuer, and not every verifier looks at typ.
			problems = append(problems, fmt.Errorf(`organization %[1]s has "link": "code", for which %[2]s_AUDIENCE must differ from %[2]s_ISSUER: otherwise a code can pass for a token`,
				organization.Slug, settingsPrefix))
		}
		if err := errors.Join(problems...); err != nil {
			return nil, err
		}
		return registry, nil
	}
}

// checkMaxLifetime checks that the keys may sign the longest session that the
// settings allow.
func checkMaxLifetime(manifest *keys.Manifest, settings Settings) error {
	if longest := manifest.Policy.MaxLifetime; settings.MaxSessionLifetime > longest {
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

// A keySet is a version of the key manifest on its way into use: it is parsed,
// checked, and only then are its signers opened.
type keySet struct {
	manifest *keys.Manifest
	ring     *keys.Ring // nil until the signers are opened
}

func parseKeys(r io.Reader) (*keySet, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeysFile))
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	manifest, err := keys.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	return &keySet{manifest: manifest}, nil
}

// acceptKeys returns the check of a later key manifest. It refuses one that
// would make tokens invalid or keep invalid ones good, and one that does not
// fit the settings. The error lists all that is wrong.
func acceptKeys(settings Settings, revives func(*keys.Manifest) error) func(old, next *keySet) error {
	return func(old, next *keySet) error {
		return errors.Join(checkCreated(next.manifest), safeStep(old.manifest, next.manifest), checkMaxLifetime(next.manifest, settings), revives(next.manifest))
	}
}

// warnOfKeys returns a function that warns of what is wrong with a manifest in
// use. A server that starts has nothing to compare a manifest with, so it takes
// one from the future. But all that come after it are older, and refused.
func warnOfKeys(path string) func(*keySet) []string {
	readable := warnOfReadableKeys(path)
	return func(set *keySet) []string {
		warnings := readable(set)
		if _, early := fromFuture(set.manifest); early {
			warnings = append(warnings, fmt.Sprintf("version %d was made in the future, at %s: a clock is wrong, here or where it was made; "+
				"see the runbook about clock trouble", set.manifest.Version, set.manifest.CreatedAt.Format(time.RFC3339)))
		}
		return warnings
	}
}

// fromFuture returns how much later than now a manifest was made, and whether
// that is more than clocks may differ.
func fromFuture(m *keys.Manifest) (ahead time.Duration, early bool) {
	ahead = time.Until(m.CreatedAt)
	return ahead, ahead > m.Policy.Skew
}

// checkCreated refuses a manifest from the future, for as long as it is one. A
// step is judged by the time at which it was made, and judged by a clock that is
// a year ahead all keys that are good now may seem to have expired.
func checkCreated(next *keys.Manifest) error {
	ahead, early := fromFuture(next)
	if !early {
		return nil
	}
	return fmt.Errorf("created: created_at is %s, %s from now; a clock is wrong, here or where the manifest was made: "+
		"put the previous version back, and correct that clock", next.CreatedAt.Format(time.RFC3339), ahead.Round(time.Second))
}

// safeStep judges by the time the manifest was made, not by the clock of this
// replica, so that all replicas decide alike.
func safeStep(old, next *keys.Manifest) error {
	return keys.Check(old, next, next.CreatedAt).Err()
}

// openKeys returns the last step, which opens the signers of a manifest. An
// error of a signer may pass, as when the PIN of a device is corrected, so it
// does not refuse a manifest for good. A device that is away is no error.
func openKeys(open keys.OpenSigner) func(*keySet) error {
	transient := open
	if open != nil {
		transient = func(uri string, public *jwk.Key) (keys.Signer, error) {
			signer, err := open(uri, public)
			return signer, reload.Transient(err)
		}
	}
	return func(set *keySet) (err error) {
		set.ring, err = keys.NewRing(set.manifest, transient)
		return err
	}
}

// openDirectory makes the customer directory of the settings, and what closes
// it, which is never nil.
//
//nolint:ireturn // the settings choose one of four
func openDirectory(
	ctx context.Context, settings Settings, files *followedFiles, registry *reload.File[*organizations.Registry],
) (directory customers.Directory, closeDirectory func(), err error) {
	closeDirectory = func() {}
	switch settings.Customers {
	case "file":
		file, err := openFile(files, customersFile, reload.Config[*customers.File]{
			Path: settings.CustomersFile, Load: customers.LoadFile,
			Compare: compareCustomers, KeepMost: true,
		}, contents[*customers.File]{count: countCustomers, warn: warnOfCustomers(registry)})
		return liveFile{file}, closeDirectory, err
	case "http":
		token, err := readSecret(settings.CustomersTokenFile)
		if err != nil {
			return nil, closeDirectory, err
		}
		directory, err = customers.NewHTTP(customers.HTTPConfig{
			BaseURL: settings.CustomersURL, Token: token, Timeout: settings.CustomersTimeout,
			Headers: tracing.Inject,
		})
		return directory, closeDirectory, err
	case "postgres":
		postgres, err := openPostgres(ctx, settings, files.logger)
		if err != nil {
			return nil, closeDirectory, err
		}
		return postgres, postgres.Close, nil
	default:
		return customers.Request{}, closeDirectory, nil
	}
}

// openPostgres makes the directory in a database. A database that is away may come
// back; one that will give the same answer tomorrow is an error.
func openPostgres(ctx context.Context, settings Settings, logger *slog.Logger) (*customers.Postgres, error) {
	dsn, err := readSecret(settings.CustomersDSNFile)
	if err != nil {
		return nil, err
	}
	postgres, err := customers.NewPostgres(ctx, customers.PostgresConfig{
		DSN: dsn, Insecure: settings.CustomersDSNInsecure, Timeout: settings.CustomersTimeout,
		ByID: settings.CustomersQueryID, ByExternalID: settings.CustomersQueryExternalID,
		Members: settings.CustomersQueryMembers,
	})
	if err != nil {
		return nil, err
	}
	err = postgres.Check(ctx)
	if errors.Is(err, customers.ErrUnavailable) {
		logger.Warn("customer database is unavailable; starting without it", "error", err.Error())
	} else if err != nil {
		postgres.Close()
		return nil, err
	}
	return postgres, nil
}

// liveFile is the directory of the version of the file that is in use.
type liveFile struct {
	file *reload.File[*customers.File]
}

// Find implements [customers.Directory].
func (l liveFile) Find(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	return l.file.Current().Find(ctx, q)
}

// FindMember implements [customers.Directory].
func (l liveFile) FindMember(ctx context.Context, q customers.Query, c *customers.Customer) (*customers.Member, error) {
	return l.file.Current().FindMember(ctx, q, c)
}

// readSecret reads a file that holds a secret. An empty path means no secret.
func readSecret(path string) (secret.Text, error) {
	if path == "" {
		return "", nil
	}
	text, err := secret.ReadFile(path)
	if err == nil && text == "" {
		err = fmt.Errorf("%s is empty", path)
	}
	return text, err
}
