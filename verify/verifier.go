package verify

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
)

// Defaults of [Config].
const (
	DefaultLeeway      = 30 * time.Second
	DefaultMaxLifetime = 24 * time.Hour
	DefaultMaxStale    = time.Hour

	maxLeeway = 5 * time.Minute
)

// Config says whose tokens to accept. Issuer and Audience are required; every
// other zero field stands for its documented default. No field switches a
// check off.
type Config struct {
	// Issuer is the issuer's URL, character by character as in its tokens.
	Issuer string
	// Audience is what the tokens must be for, e.g. "customer-portal".
	Audience string
	// JWKSetURL is where the issuer publishes its keys. It must be https,
	// except on a loopback address. Default: Issuer +
	// "/.well-known/jwks.json".
	JWKSetURL string
	// HTTPClient fetches the JWK Set; its transport and time-out are kept,
	// redirects are never followed. Default: a client of our own, with the
	// transport of [http.DefaultTransport].
	HTTPClient *http.Client
	// KeySource finds keys instead of a JWK Set over HTTP. JWKSetURL,
	// HTTPClient and MaxStale then have no meaning and must be zero.
	KeySource KeySource
	// Algorithms are the ones that are accepted. Default: ES256 and EdDSA.
	Algorithms []jwk.Algorithm
	// Leeway is how far this clock and the issuer's may be apart; at most 5
	// minutes. Default: [DefaultLeeway].
	Leeway time.Duration
	// MaxLifetime is the longest session that is accepted, from "iat" to
	// "exp". Default: [DefaultMaxLifetime].
	MaxLifetime time.Duration
	// MaxStale is how long keys are still used after the last good answer of
	// an issuer that cannot be reached. Default: [DefaultMaxStale].
	MaxStale time.Duration
	// Realm is the protection space named in challenges (RFC 9110, Section
	// 11.5). Default: "customersession".
	Realm string
}

// A KeySource finds the public key for a key ID. The error wraps
// [ErrUnknownKey] when there is no such key, and [ErrKeysUnavailable] when that
// cannot be told now. It must be safe for concurrent use.
type KeySource interface {
	Key(ctx context.Context, keyID string) (*jwk.Key, error)
}

// A Verifier verifies tokens of one issuer for one audience. It is safe for
// concurrent use.
type Verifier struct {
	keys        KeySource
	methods     map[jwk.Algorithm]jwt.SigningMethod
	validator   *jwt.Validator
	maxLifetime time.Duration
	realm       string
}

// New returns a verifier, or all that is wrong with config. It does no I/O:
// keys are fetched when the first token comes.
func New(config Config) (*Verifier, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	keys := config.KeySource
	if keys == nil {
		keys = newSource(config)
	}
	return &Verifier{
		keys:    keys,
		methods: signingMethods(config.Algorithms),
		validator: jwt.NewValidator(
			jwt.WithIssuer(config.Issuer),
			jwt.WithAudience(config.Audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(config.Leeway),
		),
		maxLifetime: config.MaxLifetime,
		realm:       config.Realm,
	}, nil
}

func (c *Config) setDefaults() {
	if c.Algorithms == nil {
		c.Algorithms = []jwk.Algorithm{jwk.ES256, jwk.EdDSA}
	}
	if c.Leeway == 0 {
		c.Leeway = DefaultLeeway
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = DefaultMaxLifetime
	}
	if c.Realm == "" {
		c.Realm = "customersession"
	}
	if c.KeySource != nil {
		return
	}
	if c.JWKSetURL == "" {
		c.JWKSetURL = c.Issuer + "/.well-known/jwks.json"
	}
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
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
	problem(c.Issuer == "", "config has no Issuer")
	problem(c.Audience == "", "config has no Audience")
	problem(len(c.Algorithms) == 0, "config has an empty list of Algorithms; leave it nil for the default")
	for _, a := range c.Algorithms {
		problem(!a.Known(), fmt.Sprintf("algorithm %q is not one of %q", string(a), jwk.Algorithms()))
	}
	problem(c.Leeway < 0 || c.Leeway > maxLeeway, "Leeway is not between 0 and 5 minutes")
	problem(c.MaxLifetime < 0, "MaxLifetime is negative")
	problem(!isQuotable(c.Realm), "Realm has characters that a challenge cannot quote")
	if c.KeySource != nil {
		problem(c.JWKSetURL != "" || c.HTTPClient != nil || c.MaxStale != 0,
			"KeySource leaves no use for JWKSetURL, HTTPClient and MaxStale")
	} else {
		problem(c.MaxStale < 0, "MaxStale is negative")
		if err := checkURL(c.JWKSetURL); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// isQuotable tells whether text can stand in a quoted-string as it is (RFC
// 9110, Section 5.6.4).
func isQuotable(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return c < ' ' || c > '~' || c == '"' || c == '\\'
	})
}

// checkURL demands https: whoever can change the answer can forge any token.
// On loopback there is nobody in between.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("JWKSetURL %q is not an absolute URL without user and fragment", text)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("JWKSetURL %q is not https; http is for loopback addresses only", text)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// signingMethods returns golang-jwt's implementations as values of our own.
// Its registry and its variables are global: any package of the program could
// put something else there.
func signingMethods(algorithms []jwk.Algorithm) map[jwk.Algorithm]jwt.SigningMethod {
	methods := make(map[jwk.Algorithm]jwt.SigningMethod, len(algorithms))
	for _, a := range algorithms {
		switch a {
		case jwk.ES256:
			methods[a] = &jwt.SigningMethodECDSA{Name: "ES256", Hash: crypto.SHA256, KeySize: 32, CurveBits: 256}
		case jwk.EdDSA:
			methods[a] = &jwt.SigningMethodEd25519{}
		case jwk.RS256:
			methods[a] = &jwt.SigningMethodRSA{Name: "RS256", Hash: crypto.SHA256}
		}
	}
	return methods
}

// Verify returns the session that token stands for, or the zero Session and
// an error that wraps one of this package's. The context bounds how long a
// caller waits for keys; a token whose key is known needs no I/O.
func (v *Verifier) Verify(ctx context.Context, token string) (Session, error) {
	c, err := split(token)
	if err != nil {
		return Session{}, err
	}
	h, err := parseHeader(c.header)
	if err != nil {
		return Session{}, err
	}
	key, err := v.key(ctx, h)
	if err != nil {
		return Session{}, err
	}
	if err := v.checkSignature(c, key); err != nil {
		return Session{}, err
	}
	// Only from here on may anybody read the payload.
	claims, err := parseClaims(c.payload)
	if err != nil {
		return Session{}, err
	}
	if err := v.validate(claims); err != nil {
		return Session{}, err
	}
	claims.session.KeyID = key.ID()
	return claims.session, nil
}

// key finds the key that the header names. The token does not choose the
// algorithm: the key has one, and the header must agree.
func (v *Verifier) key(ctx context.Context, h header) (*jwk.Key, error) {
	if v.methods[h.algorithm] == nil {
		return nil, errAlgorithm
	}
	key, err := v.keys.Key(ctx, h.keyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm() != h.algorithm {
		return nil, errKeyAlg
	}
	return key, nil
}

func (v *Verifier) checkSignature(c compact, key *jwk.Key) error {
	signature, ok := decode(c.signature)
	if !ok || len(signature) != key.SignatureSize() {
		return errSignature
	}
	if v.methods[key.Algorithm()].Verify(c.signingInput, signature, key.Public()) != nil {
		return errSignature
	}
	return nil
}
