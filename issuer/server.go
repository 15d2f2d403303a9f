package issuer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/connections"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/loopback"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/issuer/internal/tracing"
	"github.com/customersession/customersession/issuer/internal/webhook"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// DefaultAudience is the audience of tokens where none is configured.
const DefaultAudience = "customer-portal"

const (
	defaultLifetime = time.Hour
	longestLifetime = 24 * time.Hour

	defaultRevocationAge = 15 * time.Minute
	minRevocationAge     = 10 * time.Second
	longestRevocationAge = 24 * time.Hour

	// maxAddresses bounds the memory of the limit for each client address.
	maxAddresses = 65_536
	// maxHolders bounds that of the limits for holders of tokens.
	maxHolders = 16_384
)

// Config holds the parts of a [Server]. Issuer, Keys, Organizations and
// Customers are required. Every other zero field has its default.
type Config struct {
	// Issuer is the public URL of the server, without a slash at the end. It
	// is the "iss" of every token.
	Issuer string
	// Audience is the "aud" of every token. Default: [DefaultAudience].
	Audience string
	// Lifetime is how long a session lasts when the request does not say.
	// Default: an hour.
	Lifetime time.Duration
	// MaxLifetime is the longest session that a client may ask for. Default
	// and maximum: 24 hours.
	MaxLifetime time.Duration

	// Keys and Organizations return the versions in use. They are called for each
	// request.
	Keys          func() *keys.Ring
	Organizations func() *organizations.Registry
	Customers     customers.Directory

	// Revocations is the log of what has been ended. Run closes it. Default:
	// none, and no session can be ended.
	Revocations revocations.Log
	// Redemptions are where codes are redeemed. Run closes them. Default: none, and
	// no code can be exchanged.
	Redemptions revocations.Redemptions
	// MaxRevocationAge is how old a consumer's knowledge of the log may be, in
	// whole seconds from 10 seconds to 24 hours. Default: 15 minutes.
	MaxRevocationAge time.Duration

	// KeyRate and KeyBurst limit the requests of one API key: so many a second
	// on average, so many at once. SessionRate and SessionBurst limit those with
	// the token of one session, AddressRate and AddressBurst all of these from one
	// client address, AnonymousRate and AnonymousBurst those without valid
	// credentials from one client address. Default: no limit.
	KeyRate, SessionRate, AddressRate, AnonymousRate     float64
	KeyBurst, SessionBurst, AddressBurst, AnonymousBurst int
	// TrustedProxies are the networks whose X-Forwarded-For is trusted. Default:
	// none, and the peer is the client.
	TrustedProxies []netip.Prefix
	// Connections and ConnectionsPerAddress are how many connections may be open
	// on the public listener, in all and from one client address. At a limit, a
	// new connection takes the place of one that waits for a request, first of
	// the client with the most. Connections of TrustedProxies count in all
	// only. Default: 1024 and 256.
	Connections, ConnectionsPerAddress int

	// WebhookSecret returns the secret that is in the file at a path, each time that
	// a webhook is called. Default: that of the file, unless everyone may change it.
	WebhookSecret func(path string) (secret.Text, error)

	// Logger gets a line for each request and an event for each session.
	// Default: none.
	Logger *slog.Logger
	// Tracer gets spans of each request. Run shuts it down. Default: none.
	Tracer *tracing.Tracer
}

// A Server is the issuer's HTTP API. Its handlers are safe for concurrent use.
type Server struct {
	issuer, audience      string
	lifetime, maxLifetime time.Duration

	keys          func() *keys.Ring
	organizations func() *organizations.Registry
	customers     customers.Directory
	verifier      *verify.Verifier
	codeVerifier  *verify.Verifier
	recovery      *recoveryVerifier
	webhooks      *webhook.Sender
	webhookSecret func(path string) (secret.Text, error)
	// Only a server made by Open follows files and closes its directory.
	files          *followedFiles
	closeDirectory func()
	// revocations follows the log while the server runs.
	revocations      *feed.Follower
	revocationLog    revocations.Log // may be nil
	maxRevocationAge time.Duration
	redeemer         *feed.Redeemer
	waiting          *waiting // consumers of the feed
	pauses           *pauses
	// signFailure is the error of the last signature, nil after a success.
	signFailure atomic.Pointer[error]

	keyLimit       *ratelimit.Limiter[apiKeyID]
	sessionLimit   *ratelimit.Limiter[string] // by session ID
	addressLimit   *ratelimit.Limiter[netip.Prefix]
	anonymousLimit *ratelimit.Limiter[netip.Prefix]
	revokeLimit    *ratelimit.Limiter[apiKeyID]
	recoverLimit   *ratelimit.Limiter[string] // by session ID
	snapshotLimit  *ratelimit.Limiter[netip.Prefix]

	trusted     []netip.Prefix
	connections connections.Limits

	logger   *slog.Logger
	tracer   *tracing.Tracer // nil: off
	metrics  *metrics
	refusals refusals
	router   *echo.Echo
	draining atomic.Bool
	stopping chan struct{} // closed when the server begins to drain
}

// New makes a server of its parts, or returns all that is wrong with config.
func New(config Config) (*Server, error) {
	return newServer(config, newMetrics())
}

func newServer(config Config, metrics *metrics) (*Server, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	follower := feed.New(feed.Config{
		Issuer: config.Issuer, Log: config.Revocations, MaxAge: config.MaxRevocationAge,
		RevokedKeys: revokedKeys(config.Keys), Logger: config.Logger,
	})
	verifiers, err := newVerifiers(&config, follower)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	metrics.registry.MustRegister(newKeysCollector(config.Keys))
	places := waitingPlaces(config.Connections)
	s := &Server{
		issuer: config.Issuer, audience: config.Audience,
		lifetime: config.Lifetime, maxLifetime: config.MaxLifetime,
		keys: config.Keys, organizations: config.Organizations, customers: config.Customers,
		files:          &followedFiles{},
		closeDirectory: func() {},
		verifier:       verifiers.sessions,
		codeVerifier:   verifiers.codes,
		recovery:       verifiers.recovery,
		webhooks:       webhook.NewSender(),
		webhookSecret:  config.WebhookSecret,
		revocations:    follower,
		revocationLog:  config.Revocations, maxRevocationAge: config.MaxRevocationAge,
		redeemer:       feed.NewRedeemer(config.Redemptions),
		waiting:        newWaiting(places, maxWaitingClient),
		pauses:         newPauses(config.MaxRevocationAge),
		keyLimit:       ratelimit.New[apiKeyID](config.KeyRate, config.KeyBurst, 0),
		sessionLimit:   ratelimit.New[string](config.SessionRate, config.SessionBurst, maxHolders),
		addressLimit:   ratelimit.New[netip.Prefix](config.AddressRate, config.AddressBurst, maxHolders),
		anonymousLimit: ratelimit.New[netip.Prefix](config.AnonymousRate, config.AnonymousBurst, maxAddresses),
		revokeLimit:    ratelimit.New[apiKeyID](revokeRate, revokeBurst, 0),
		recoverLimit:   ratelimit.New[string](recoverRate, recoverBurst, maxHolders),
		snapshotLimit:  ratelimit.New[netip.Prefix](snapshotRate, snapshotBurst, maxAddresses),
		trusted:        config.TrustedProxies,
		connections: connections.Limits{
			Total: config.Connections, PerClient: config.ConnectionsPerAddress,
			Proxies: config.TrustedProxies, Patience: headerTimeout,
			Aside: places, AsidePerClient: maxWaitingClient,
		},
		stopping: make(chan struct{}),
		logger:   config.Logger,
		tracer:   config.Tracer,
		metrics:  metrics,
		refusals: newRefusals(),
	}
	metrics.registry.MustRegister(newRevocationsCollector(s.revocations))
	s.router = s.routes(config.TrustedProxies)
	return s, nil
}

// verifiers are those of the server's own credentials.
type verifiers struct {
	sessions, codes *verify.Verifier
	recovery        *recoveryVerifier
}

func newVerifiers(config *Config, follower *feed.Follower) (v verifiers, err error) {
	accepted := verify.Config{
		Issuer: config.Issuer, Audience: config.Audience, KeySource: publishedKeys{config.Keys, follower.RevokedKey},
		// The server accepts what it signs.
		Algorithms: jwk.Algorithms(),
	}
	if v.sessions, err = verify.New(accepted); err != nil {
		return v, err
	}
	codes := accepted
	codes.TokenType, codes.Audience, codes.CacheSize = wire.CodeType, config.Issuer, -1
	if v.codes, err = verify.New(codes); err != nil {
		return v, err
	}
	accepted.KeySource = recoveryKeys{config.Keys, follower.RevokedKey}
	v.recovery, err = newRecoveryVerifier(accepted)
	return v, err
}

func (c *Config) setDefaults() {
	if c.Audience == "" {
		c.Audience = DefaultAudience
	}
	if c.Lifetime == 0 {
		c.Lifetime = defaultLifetime
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = longestLifetime
	}
	if c.Connections == 0 {
		c.Connections = maxConnections
	}
	if c.ConnectionsPerAddress == 0 {
		c.ConnectionsPerAddress = maxConnectionsClient
	}
	if c.MaxRevocationAge == 0 {
		c.MaxRevocationAge = defaultRevocationAge
	}
	if c.WebhookSecret == nil {
		c.WebhookSecret = readWebhookSecret
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// validate reports every problem at once.
func (c *Config) validate() error {
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	if err := checkIssuer(c.Issuer); err != nil {
		problems = append(problems, err)
	}
	problem(len(c.Audience) > wire.MaxStringLength, "audience is longer than 255 bytes")
	problem(c.MaxLifetime < minLifetime || c.MaxLifetime > longestLifetime,
		"longest session lifetime is not between 1m and 24h")
	problem(c.Lifetime < minLifetime || c.Lifetime > c.MaxLifetime,
		"session lifetime is not between 1m and the longest one")
	problem(c.Lifetime%time.Second != 0 || c.MaxLifetime%time.Second != 0,
		"session lifetimes are not whole seconds")
	problem(c.MaxRevocationAge < minRevocationAge || c.MaxRevocationAge > longestRevocationAge,
		"longest age of revocations is not between 10s and 24h")
	problem(c.MaxRevocationAge%time.Second != 0, "longest age of revocations is not in whole seconds")
	problem(c.Keys == nil, "there are no keys")
	problem(c.Organizations == nil, "there are no organizations")
	problem(c.Customers == nil, "there is no customer directory")
	return errors.Join(problems...)
}

// checkIssuer demands the form of an issuer identifier (RFC 8414, Section 2):
// consumers compare it character by character, and fetch keys below it.
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsAny(text, "?#") {
		return fmt.Errorf("issuer %q is not an absolute URL without user, query and fragment", text)
	}
	if strings.HasSuffix(text, "/") {
		return fmt.Errorf("issuer %q ends with a slash; leave it out", text)
	}
	if len(text) > wire.MaxStringLength {
		return errors.New("issuer is longer than 255 bytes")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return fmt.Errorf("issuer %q is not https; http is for loopback addresses only", text)
	}
	return nil
}

// revokedKeys returns the IDs of the keys that the manifest in use revokes.
func revokedKeys(ring func() *keys.Ring) func() []string {
	return func() []string {
		var revoked []string
		m, now := ring().Manifest(), time.Now()
		for _, key := range m.Keys {
			if m.StateAt(key, now) == keys.Revoked {
				revoked = append(revoked, key.ID())
			}
		}
		return revoked
	}
}

// Handler returns the public API.
func (s *Server) Handler() http.Handler { return collapseSlashes(s.router) }
