package verifytest

import (
	"crypto"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// Defaults of [Config], and the values in a token of [Issuer.Token].
const (
	DefaultIssuer   = "https://sessions.example.com"
	DefaultAudience = "customer-portal"
	DefaultMaxAge   = 5 * time.Minute
	// DefaultMaxRevocationAge is that of a customersession server.
	DefaultMaxRevocationAge = 15 * time.Minute

	CustomerID     = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	SessionID      = "3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11"
	OrganizationID = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	ReturnURL      = "https://shop.example.com/"
)

// Config configures an [Issuer]. The zero value is valid.
type Config struct {
	// Issuer is the issuer's URL, the "iss" of its tokens, without a slash at
	// the end. Default: [DefaultIssuer], or the server's address with Loopback.
	Issuer string
	// Audience is the "aud" of its tokens. Default: [DefaultAudience].
	Audience string
	// Algorithms are the algorithms of the issuer's first keys, one key for
	// each. The first key signs. Default: ES256.
	Algorithms []jwk.Algorithm
	// Keys are the issuer's first keys, instead of new ones: P-256, Ed25519 or
	// RSA. The first one signs. Algorithms must then be empty.
	Keys []crypto.Signer
	// MaxAge is the max-age of the JWK Set; verifiers add bounds of their own.
	// Default: [DefaultMaxAge].
	MaxAge time.Duration
	// MaxRevocationAge is how old a verifier's knowledge of ended sessions may get,
	// in whole seconds. Default: [DefaultMaxRevocationAge].
	MaxRevocationAge time.Duration
	// Loopback starts an HTTP server on a loopback address, for verifiers in
	// other processes. It runs until the test ends. Real connections do not
	// work in testing/synctest bubbles.
	Loopback bool
}

// An Issuer signs tokens and publishes its keys. It is safe for concurrent use.
//
// Its methods panic if the issuer never had the key they are given, which is a
// mistake in the test.
type Issuer struct {
	url, audience string
	// path is the path of url, without a trailing slash.
	path       string
	algorithms []jwk.Algorithm
	maxAge     time.Duration
	// maxRevocationAge is the "max_age" of the feed.
	maxRevocationAge time.Duration
	// server is nil without Config.Loopback.
	server *httptest.Server

	mu sync.Mutex
	// signers holds every key, removed ones too, oldest first.
	signers []*signer
	active  *signer
	// attackers holds untrusted keys, made on demand.
	attackers map[jwk.Algorithm]*signer
	failure   Failure
	feed      feed
	// requests counts requests for the JWK Set, lured those for paths that
	// only forged tokens contain.
	requests, lured int
	// userFailure is the status with which userPath fails, or 0; userRequests
	// counts requests for it.
	userFailure, userRequests int
	// redeemed has the codes that were exchanged, recoveries counts requests for a
	// new link.
	redeemed   map[string]redemption
	recoveries int
}

// NewIssuer returns an issuer that stops when the test ends. An invalid config
// fails the test. Outside a test, such as in an example, t may be nil: then an
// invalid config panics, and a server runs until the program exits.
//
//nolint:thelper // it begins with Helper where there is a test
func NewIssuer(t testing.TB, config Config) *Issuer {
	if t != nil {
		t.Helper()
	}
	i := &Issuer{
		url: config.Issuer, audience: config.Audience, maxAge: config.MaxAge,
		maxRevocationAge: config.MaxRevocationAge,
		attackers:        map[jwk.Algorithm]*signer{}, feed: newFeed(), redeemed: map[string]redemption{},
	}
	if problem := i.init(config); problem != "" {
		if t == nil {
			panic("verifytest: " + problem)
		}
		t.Fatal("verifytest: " + problem)
	}
	if i.server != nil && t != nil {
		t.Cleanup(func() {
			// A client may still wait for an issuer that hangs.
			i.server.CloseClientConnections()
			i.server.Close()
		})
	}
	return i
}

// init returns the problem with config, or "".
func (i *Issuer) init(config Config) string {
	if i.audience == "" {
		i.audience = DefaultAudience
	}
	if i.maxAge == 0 {
		i.maxAge = DefaultMaxAge
	}
	if i.maxRevocationAge == 0 {
		i.maxRevocationAge = DefaultMaxRevocationAge
	}
	if problem := i.initKeys(config); problem != "" {
		return problem
	}
	u, err := url.Parse(i.url)
	if err != nil || strings.HasSuffix(i.url, "/") {
		return "Config.Issuer is not a URL without a slash at the end"
	}
	i.path = u.Path
	if config.Loopback {
		i.server = httptest.NewUnstartedServer(i.Handler())
	}
	switch {
	case i.url != "":
	case i.server != nil:
		i.url = "http://" + i.server.Listener.Addr().String()
	default:
		i.url = DefaultIssuer
	}
	if i.server != nil {
		// Now that the URL is known: a client of an earlier server at this port may
		// ask at once.
		i.server.Start()
	}
	return ""
}

func (i *Issuer) initKeys(config Config) string {
	algorithms := config.Algorithms
	switch {
	case len(config.Keys) > 0 && len(algorithms) > 0:
		return "Config has both Keys and Algorithms"
	case len(config.Keys) == 0 && len(algorithms) == 0:
		algorithms = []jwk.Algorithm{jwk.ES256}
	}
	for _, a := range algorithms {
		if !a.Known() {
			return "Config.Algorithms has an unknown one"
		}
		i.signers = append(i.signers, generate(a))
	}
	for _, private := range config.Keys {
		key, err := jwk.New(private.Public())
		if err != nil {
			return "Config.Keys has one that cannot be used: " + err.Error()
		}
		i.signers = append(i.signers, &signer{private: private, key: key})
	}
	for _, s := range i.signers {
		s.published = true
		if !slices.Contains(i.algorithms, s.key.Algorithm()) {
			i.algorithms = append(i.algorithms, s.key.Algorithm())
		}
	}
	i.active = i.signers[0]
	return ""
}

// URL returns the issuer's URL, the "iss" of its tokens.
func (i *Issuer) URL() string { return i.url }

// Audience returns the "aud" of its tokens.
func (i *Issuer) Audience() string { return i.audience }

// JWKSetURL returns the URL of the issuer's keys: on the loopback server if there
// is one, otherwise below [Issuer.URL], for [Issuer.Client].
func (i *Issuer) JWKSetURL() string { return i.base() + jwkSetPath }

// base returns the base URL of [Issuer.Handler].
func (i *Issuer) base() string {
	if i.server != nil {
		return i.server.URL + i.path
	}
	return i.url
}

// Client returns an HTTP client that calls [Issuer.Handler] without a network
// and reaches nothing else.
func (i *Issuer) Client() *http.Client {
	return &http.Client{Transport: &transport{i}}
}

// Config returns the config of a verifier that trusts this issuer: its URL and
// audience, the algorithms of its first keys, and the URL and client to fetch
// its JWK Set.
func (i *Issuer) Config() verify.Config {
	client := i.Client()
	if i.server != nil {
		client = i.server.Client()
	}
	return verify.Config{
		Issuer:     i.url,
		Audience:   i.audience,
		JWKSetURL:  i.JWKSetURL(),
		HTTPClient: client,
		Algorithms: slices.Clone(i.algorithms),
	}
}
