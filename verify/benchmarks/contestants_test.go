package benchmarks_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	jwxjwk "github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

const leeway = 30 * time.Second

// A holder is what a service wants to know of a token.
type holder struct {
	customer, session, organization, returnURL string
}

// A contestant verifies tokens.
type contestant struct {
	name   string
	verify func(ctx context.Context, t *token) (holder, error)
	// renew makes it forget the tokens it has seen; nil when it never
	// remembers any.
	renew func(t testing.TB)
}

// Names of the contestants that are not peers.
const (
	rawName      = "raw"
	oursName     = "ours"
	uncachedName = "uncached"
)

// peers returns the other libraries, ready to verify tokens of the course.
func (c *course) peers(t testing.TB, algorithm jwk.Algorithm) []contestant {
	t.Helper()
	return []contestant{
		{name: "keyfunc", verify: c.keyfunc(t, algorithm)},
		{name: "jwx", verify: c.jwx(t)},
		{name: "go-jose", verify: c.goJOSE(t, algorithm)},
		{name: "go-oidc", verify: c.goOIDC(algorithm)},
	}
}

// all returns everybody.
func (c *course) all(t testing.TB, algorithm jwk.Algorithm) []contestant {
	t.Helper()
	raw := c.raw()
	return append([]contestant{
		{name: rawName, verify: func(_ context.Context, t *token) (holder, error) { return holder{}, raw(t) }},
		c.ours(t, 0),
		c.ours(t, -1),
	}, c.peers(t, algorithm)...)
}

// ours returns package verify with its defaults but for the size of the cache.
func (c *course) ours(t testing.TB, cacheSize int) contestant {
	t.Helper()
	v := c.verifier(t, cacheSize)
	t.Cleanup(func() { v.Close() }) // the last one
	result := contestant{name: oursName, verify: func(ctx context.Context, t *token) (holder, error) {
		s, err := v.Verify(ctx, t.text)
		return holder{s.CustomerID, s.ID, s.OrganizationID, s.ReturnURL}, err
	}}
	if cacheSize < 0 {
		result.name = uncachedName
		return result
	}
	result.renew = func(t testing.TB) {
		t.Helper()
		v.Close()
		v = c.verifier(t, cacheSize)
	}
	return result
}

func (c *course) verifier(t testing.TB, cacheSize int) *verify.Verifier {
	t.Helper()
	config := c.issuer.Config()
	config.CacheSize = cacheSize
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

// privateClaims are the claims that libraries have no field for.
type privateClaims struct {
	Session      string `json:"sid"`
	Organization string `json:"org"`
	ReturnURL    string `json:"return_url"`
}

// keyfunc is golang-jwt with the options that its documentation and RFC 8725
// ask for.
func (c *course) keyfunc(t testing.TB, algorithm jwk.Algorithm) func(context.Context, *token) (holder, error) {
	t.Helper()
	keys, err := keyfunc.NewDefaultCtx(t.Context(), []string{c.issuer.JWKSetURL()})
	if err != nil {
		t.Fatal(err)
	}
	type claims struct {
		jwt.RegisteredClaims
		privateClaims
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{string(algorithm)}),
		jwt.WithIssuer(c.issuer.URL()),
		jwt.WithAudience(c.issuer.Audience()),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	)
	return func(_ context.Context, t *token) (holder, error) {
		var all claims
		if _, err := parser.ParseWithClaims(t.text, &all, keys.Keyfunc); err != nil {
			return holder{}, err
		}
		return holder{all.Subject, all.Session, all.Organization, all.ReturnURL}, nil
	}
}

// jwx takes the algorithm from the key, as its documentation recommends, and
// finds the key by its ID. The set does not go through jwx's cache, which
// would cost it a little more.
func (c *course) jwx(t testing.TB) func(context.Context, *token) (holder, error) {
	t.Helper()
	keys, err := jwxjwk.Fetch(t.Context(), c.issuer.JWKSetURL())
	if err != nil {
		t.Fatal(err)
	}
	options := []jwxjwt.ParseOption{
		jwxjwt.WithKeySet(keys),
		jwxjwt.WithIssuer(c.issuer.URL()),
		jwxjwt.WithAudience(c.issuer.Audience()),
		jwxjwt.WithRequiredClaim(jwxjwt.ExpirationKey),
		jwxjwt.WithAcceptableSkew(leeway),
	}
	return func(_ context.Context, t *token) (holder, error) {
		parsed, err := jwxjwt.ParseString(t.text, options...)
		if err != nil {
			return holder{}, err
		}
		var h holder
		h.customer, _ = parsed.Subject()
		return h, errors.Join(
			parsed.Get("sid", &h.session),
			parsed.Get("org", &h.organization),
			parsed.Get("return_url", &h.returnURL),
		)
	}
}

var errNoExpiry = errors.New("token has no exp")

func (c *course) goJOSE(t testing.TB, algorithm jwk.Algorithm) func(context.Context, *token) (holder, error) {
	t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(c.issuer.JWKSet(), &keys); err != nil {
		t.Fatal(err)
	}
	algorithms := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)}
	expected := josejwt.Expected{Issuer: c.issuer.URL(), AnyAudience: josejwt.Audience{c.issuer.Audience()}}
	type claims struct {
		josejwt.Claims
		privateClaims
	}
	return func(_ context.Context, t *token) (holder, error) {
		parsed, err := josejwt.ParseSigned(t.text, algorithms)
		if err != nil {
			return holder{}, err
		}
		var all claims
		if err := parsed.Claims(&keys, &all); err != nil {
			return holder{}, err
		}
		now := time.Now()
		expected := expected.WithTime(now)
		switch err := all.ValidateWithLeeway(expected, leeway); {
		case err != nil:
			return holder{}, err
		case all.Expiry == nil: // go-jose leaves that to its user
			return holder{}, errNoExpiry
		}
		return holder{all.Subject, all.Session, all.Organization, all.ReturnURL}, nil
	}
}

func (c *course) goOIDC(algorithm jwk.Algorithm) func(context.Context, *token) (holder, error) {
	keys := oidc.NewRemoteKeySet(context.Background(), c.issuer.JWKSetURL())
	verifier := oidc.NewVerifier(c.issuer.URL(), keys, &oidc.Config{
		ClientID:             c.issuer.Audience(),
		SupportedSigningAlgs: []string{string(algorithm)},
	})
	return func(ctx context.Context, t *token) (holder, error) {
		parsed, err := verifier.Verify(ctx, t.text)
		if err != nil {
			return holder{}, err
		}
		var private privateClaims
		if err := parsed.Claims(&private); err != nil {
			return holder{}, err
		}
		return holder{parsed.Subject, private.Session, private.Organization, private.ReturnURL}, nil
	}
}
