package verify

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/internal/outbound"
	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// A Verifier verifies tokens of one issuer for one audience. It is safe for
// concurrent use.
type Verifier struct {
	keys        keySource
	issuer      string
	audience    string
	tokenType   string
	methods     map[jwk.Algorithm]jwt.SigningMethod
	validator   *jwt.Validator
	leeway      time.Duration
	maxLifetime time.Duration
	realm       string
	feed        *revocations.Source // nil: none is followed
	issuerURL   string              // where calls to the issuer go; empty: unknown
	client      *http.Client        // for these calls
	users       *users              // nil: nobody is asked who is signed in
	isRevoked   func(Session) bool  // nil: no session is
	observer    Observer            // nil: none
	logger      *slog.Logger
	cache       *tokenCache // nil: off
	open        openSessions
}

// New returns a verifier, or an error with everything that is wrong with
// config. It does no I/O: the first token fetches the keys and asks the feed.
func New(config Config) (*Verifier, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &Verifier{
		issuer:      config.Issuer,
		audience:    config.Audience,
		tokenType:   config.TokenType,
		methods:     signingMethods(config.Algorithms),
		validator:   newValidator(config.Issuer, config.Audience, config.Leeway),
		leeway:      config.Leeway,
		maxLifetime: config.MaxLifetime,
		realm:       config.Realm,
		isRevoked:   config.IsRevoked,
		observer:    config.Observer,
		logger:      config.Logger,
		cache:       newTokenCache(config.CacheSize),
	}
	v.issuerURL, v.client = config.issuerURL(), outbound.Client(config.HTTPClient, 0)
	v.keys = newKeySource(&config, v.judgeOpen)
	v.users = newUsers(&config)
	if config.follows() {
		v.feed = newFeed(&config, v.judgeOpen)
	}
	return v, nil
}

// signingMethods returns golang-jwt's implementations as values of our own. Its
// registry and its variables are global, and any package of the program can
// replace what they hold.
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

// Verify returns the session of a token, or the zero Session and an error that
// wraps one of this package's. The context bounds how long a caller waits for
// keys and for the feed; a token whose key is known needs no I/O.
func (v *Verifier) Verify(ctx context.Context, token string) (session Session, err error) {
	// The caller's own lists. The compiler inlines Verify, so they are on the
	// caller's stack unless the session outlives it.
	session = Session{Audience: make([]string, 1), Scopes: make([]string, 1)}
	err = v.observe(ctx, token, 0, &session)
	return session, err
}

// verifyWithin is Verify for a caller who demands that what is known of ended
// sessions is not older than maxAge, unless that is 0.
func (v *Verifier) verifyWithin(ctx context.Context, token string, maxAge time.Duration) (session Session, err error) {
	session = Session{Audience: make([]string, 1), Scopes: make([]string, 1)}
	err = v.observe(ctx, token, maxAge, &session)
	return session, err
}

// observe verifies a token and reports the outcome.
func (v *Verifier) observe(ctx context.Context, token string, maxAge time.Duration, session *Session) error {
	verified, cached, err := v.verify(ctx, token, maxAge)
	if err == nil {
		copySession(session, &verified.claims.session)
	} else {
		*session = Session{}
		v.logRefusal(ctx, err)
	}
	if v.observer != nil {
		v.observer.Verified(ctx, Verification{Result: resultOf(err), Cached: cached})
	}
	return err
}

// verify takes the steps of the package manual.
func (v *Verifier) verify(ctx context.Context, token string, maxAge time.Duration) (verified *entry, cached bool, err error) {
	verified, cached, err = v.examine(ctx, token)
	if err != nil {
		return nil, cached, err
	}
	// 8. Revocation.
	if err := v.checkRevocation(ctx, verified, maxAge); err != nil {
		return nil, cached, err
	}
	if !cached {
		v.cache.add(verified)
	}
	return verified, cached, nil
}

// examine takes the steps that are about the token itself. A token that was
// verified before skips those that depend on its bytes alone; see recheck for the
// rest.
func (v *Verifier) examine(ctx context.Context, token string) (examined *entry, cached bool, err error) {
	// 1. Length.
	if len(token) > wire.MaxTokenLength {
		return nil, false, errLength
	}
	if known := v.cache.get(token); known != nil {
		return known, true, v.recheck(ctx, known)
	}
	// 2. Characters.
	jws, err := parseJWS(token)
	if err != nil {
		return nil, false, err
	}
	// 3. Header.
	header, err := parseHeader(jws.header, v.tokenType)
	if err != nil {
		return nil, false, err
	}
	// 4. Key. If this is the first token, the feed is asked meanwhile.
	if v.feed != nil {
		v.feed.Use()
	}
	key, err := v.findKey(ctx, header)
	if err != nil {
		return nil, false, err
	}
	// 5. Signature.
	if err := v.checkSignature(&jws, key); err != nil {
		return nil, false, err
	}
	// 6. Payload.
	examined = &entry{token: token, key: key}
	if err := examined.claims.parse(jws.payload); err != nil {
		return nil, false, err
	}
	// 7. Claims.
	session := &examined.claims.session
	session.KeyID = key.ID()
	if err := v.checkClaims(&examined.claims); err != nil {
		return nil, false, err
	}
	examined.subject = v.subject(session)
	examined.deadline = session.ExpiresAt.Add(v.leeway)
	return examined, false, nil
}

// recheck repeats what may have changed since a token was verified: its key may
// have been removed, it may have expired.
func (v *Verifier) recheck(ctx context.Context, known *entry) error {
	key, err := v.findKey(ctx, header{known.key.Algorithm(), known.key.ID()})
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		return err
	case err == nil && key != known.key && !key.Equal(known.key):
		// Another key under the same ID did not sign this token.
		err = errSignature
	case err == nil && !time.Now().Before(known.deadline):
		err = newExpiredError(&known.claims.session)
	}
	if err != nil {
		v.cache.remove(known)
	}
	return err
}

// findKey returns the key that a header names. The token does not choose the
// algorithm: a key has one, and the header must agree.
func (v *Verifier) findKey(ctx context.Context, h header) (*jwk.Key, error) {
	if v.methods[h.algorithm] == nil {
		return nil, errAlgorithm
	}
	key, err := v.lookUp(ctx, h.keyID)
	switch {
	case err != nil:
		return nil, err
	case key.Algorithm() != h.algorithm:
		return nil, errKeyAlg
	}
	return key, nil
}

// lookUp returns the key with an ID, or an error of this package.
func (v *Verifier) lookUp(ctx context.Context, keyID string) (*jwk.Key, error) {
	key, err := v.keys.Key(ctx, keyID)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, errUnknown
	case err != nil:
		return nil, unavailable(err)
	case key == nil:
		return nil, errNoKey
	}
	return key, nil
}

// checkSignature also refuses the second spelling that an ES256 signature has
// (see [jwk.IsLowS]).
func (v *Verifier) checkSignature(j *jws, key *jwk.Key) error {
	switch {
	case len(j.signature) != key.SignatureSize(),
		key.Algorithm() == jwk.ES256 && !jwk.IsLowS(j.signature),
		v.methods[key.Algorithm()].Verify(j.signingInput, j.signature, key.Public()) != nil:
		return errSignature
	}
	return nil
}

// checkClaims lets golang-jwt's validator decide issuer, audience and time, and
// bounds the lifetime.
func (v *Verifier) checkClaims(c *claims) error {
	lifetime := c.session.ExpiresAt.Sub(c.session.IssuedAt)
	sensible := lifetime > 0 && lifetime <= v.maxLifetime
	if err := v.validator.Validate(c); err != nil {
		failed := claimsFailure(err)
		if sensible && onlyExpired(err) {
			return newExpiredError(&c.session)
		}
		if errors.Is(failed.reason, ErrIssuer) && strings.TrimSuffix(c.session.Issuer, "/") == strings.TrimSuffix(v.issuer, "/") {
			failed.detail = "it differs by a slash at the end"
		}
		return failed
	}
	if !sensible {
		return errLifetime
	}
	return nil
}

// logRefusal says at debug level why a token was refused and what was expected.
// It logs nothing of the token.
func (v *Verifier) logRefusal(ctx context.Context, err error) {
	if !v.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{slog.String("reason", resultOf(err))}
	if failed, ok := errors.AsType[*failure](err); ok && failed.detail != "" {
		attrs = append(attrs, slog.String("detail", failed.detail))
	}
	switch {
	case errors.Is(err, ErrIssuer):
		attrs = append(attrs, slog.String("expected_issuer", v.issuer))
	case errors.Is(err, ErrAudience):
		attrs = append(attrs, slog.String("expected_audience", v.audience))
	case errors.Is(err, ErrUnknownKey):
		attrs = append(attrs, slog.Any("key_ids", v.Health().KeyIDs))
	case errors.Is(err, ErrAlgorithm):
		attrs = append(attrs, slog.Any("expected_algorithms", slices.Sorted(maps.Keys(v.methods))))
	}
	v.logger.LogAttrs(ctx, slog.LevelDebug, "token refused", attrs...)
}
