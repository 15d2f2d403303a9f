package verify

import (
	"context"
	"crypto"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"

	"github.com/customersession/customersession/verify/wire"
)

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
	issuer      string
	audience    string
	methods     map[jwk.Algorithm]jwt.SigningMethod
	validator   *jwt.Validator
	leeway      time.Duration
	maxLifetime time.Duration
	realm       string
	isRevoked   func(Session) bool
	observer    Observer // nil: none
	// lists are those of most sessions.
	lists lists

	cache     *tokenCache // nil: off
	flights   flights
	scratches sync.Pool // of *scratch
	// header is the one of the last good token. Tokens of one key all have the
	// same, so it need not be read again and again.
	header atomic.Pointer[knownHeader]
	// layouts spare the reading of JSON in the same way.
	layouts layouts
}

// A knownHeader is a header segment that was read before.
type knownHeader struct {
	segment string
	header  header
}

// New returns a verifier, or all that is wrong with config. It does no I/O:
// keys are fetched when the first token comes.
func New(config Config) (*Verifier, error) {
	config.setDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	keys := config.KeySource
	switch {
	case keys != nil:
	case config.offline():
		keys = fixed{config.Keys}
	default:
		keys = newSource(&config)
	}
	return &Verifier{
		keys:     keys,
		issuer:   config.Issuer,
		audience: config.Audience,
		methods:  signingMethods(config.Algorithms),
		validator: jwt.NewValidator(
			jwt.WithIssuer(config.Issuer),
			jwt.WithAudience(config.Audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(config.Leeway),
		),
		leeway:      config.Leeway,
		maxLifetime: config.MaxLifetime,
		realm:       config.Realm,
		isRevoked:   config.IsRevoked,
		observer:    config.Observer,
		lists:       lists{[]string{config.Audience}, []string{wire.Scope}},
		cache:       newTokenCache(config.CacheSize),
		scratches:   sync.Pool{New: func() any { return new(scratch) }},
	}, nil
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
func (v *Verifier) Verify(ctx context.Context, token string) (session Session, err error) {
	cached, err := v.verify(ctx, token, &session)
	if v.observer != nil {
		v.observer.Verified(ctx, Verification{Result: resultOf(err), Cached: cached})
	}
	return session, err
}

// verify also tells whether the token was known already. Like all that follow,
// it writes to session only when it succeeds: a session is large, and to hand
// it from one to the other would copy it each time.
func (v *Verifier) verify(ctx context.Context, token string, session *Session) (cached bool, err error) {
	if len(token) > wire.MaxTokenLength {
		return false, errLength
	}
	s, _ := v.scratches.Get().(*scratch)
	defer v.scratches.Put(s)
	if v.cache == nil {
		return false, v.verifyAlone(ctx, s, token, session)
	}
	m := v.cache.mark(token)
	if known := v.cache.get(&m); known != nil {
		return true, v.recheck(ctx, s, &m, known, session)
	}
	return false, v.verifyNew(ctx, s, &m, session)
}

// recheck accepts a token that was verified before, if nothing has changed: its
// key is still good for it, it has not expired, nobody revoked it.
func (v *Verifier) recheck(ctx context.Context, s *scratch, m *mark, known *verified, session *Session) error {
	key, now, err := v.keyAndTime(ctx, known.key.ID())
	if err == nil && key != known.key && !key.Equal(known.key) {
		// Another key under the same ID: what the first one signed is worth
		// nothing now.
		err = errSignature
	}
	if err == nil && !v.endsAfter(now, known.expiresAt) {
		err = errExpired
	}
	if err != nil {
		v.cache.drop(m, known)
		return err
	}
	return v.accept(s, known, session)
}

// accept is the last step: nobody has revoked the session.
func (v *Verifier) accept(s *scratch, known *verified, session *Session) error {
	v.fill(session, s, known)
	if v.isRevoked != nil && v.isRevoked(*session) {
		*session = Session{}
		return errRevoked
	}
	return nil
}

// fill makes the session of a verified token. Its lists belong to the caller.
func (v *Verifier) fill(session *Session, s *scratch, known *verified) {
	audiences := len(known.lists.audience)
	list := s.list(audiences + len(known.lists.scopes))
	copy(list, known.lists.audience)
	copy(list[audiences:], known.lists.scopes)
	*session = Session{
		ID:             known.sessionID(),
		CustomerID:     known.customerID(),
		OrganizationID: known.organizationID(),
		Issuer:         v.issuer,
		Audience:       list[:audiences:audiences],
		IssuedAt:       time.Unix(known.issuedAt, 0).UTC(),
		ExpiresAt:      time.Unix(known.expiresAt, 0).UTC(),
		KeyID:          known.key.ID(),
		ReturnURL:      known.returnURL(),
	}
	if known.lists.scopes != nil {
		session.Scopes = list[audiences:]
	}
}

// verifyAlone verifies a token that is not to be remembered.
func (v *Verifier) verifyAlone(ctx context.Context, s *scratch, token string, session *Session) error {
	c, key, err := v.prepare(ctx, s, token)
	if err != nil {
		return err
	}
	var claims claims
	if err := v.check(&claims, &c, key); err != nil {
		return err
	}
	known := verified{key: key}
	v.record(&known, &claims)
	return v.accept(s, &known, session)
}

// verifyNew verifies a token that the cache does not know, together with all
// callers that have the same one at the moment.
func (v *Verifier) verifyNew(ctx context.Context, s *scratch, m *mark, session *Session) error {
	// Before callers are put together: each waits for keys as long as it likes.
	c, key, err := v.prepare(ctx, s, m.token)
	if err != nil {
		return err
	}
	leads, flight := v.flights.join(m)
	var known *verified
	switch {
	case leads != nil:
		known, err = v.lead(&c, key, m, leads)
	case flight != nil:
		known, err = flight.result(ctx)
	default:
		known, err = v.remember(&c, key, m)
	}
	if err != nil {
		return err
	}
	return v.accept(s, known, session)
}

// lead checks a token for all who wait for it. Should the check panic, they get
// an error instead of waiting for ever.
func (v *Verifier) lead(c *compact, key *jwk.Key, m *mark, leads *slot) (known *verified, err error) {
	err = errSignature
	defer func() { leads.leave(known, err) }()
	// The one who led before may have been done between our look and our turn.
	if known = v.cache.get(m); known != nil {
		return known, nil
	}
	return v.remember(c, key, m)
}

// remember checks a token and keeps it when it is good.
func (v *Verifier) remember(c *compact, key *jwk.Key, m *mark) (*verified, error) {
	var claims claims
	if err := v.check(&claims, c, key); err != nil {
		return nil, err
	}
	known := verified{key: key}
	v.record(&known, &claims)
	return v.cache.put(m, &known), nil
}

// record copies what is worth keeping of a good token.
func (v *Verifier) record(known *verified, c *claims) {
	known.text = c.text()
	known.issuedAt, known.expiresAt = c.issuedAt, c.expiresAt
	known.lists = &v.lists
	if c.n == 1 && string(c.scope) == wire.Scope { // the audience is ours, then
		return
	}
	own := v.lists
	known.lists = &own
	if c.n > 1 {
		own.audience = c.audienceList()
	}
	if string(c.scope) != wire.Scope {
		own.scopes = c.scopeList()
	}
}

// prepare does what comes before cryptography: it takes the token apart and
// finds its key.
func (v *Verifier) prepare(ctx context.Context, s *scratch, token string) (compact, *jwk.Key, error) {
	c, err := s.open(token)
	if err != nil {
		return compact{}, nil, err
	}
	h, err := v.readHeader(s, c)
	if err != nil {
		return compact{}, nil, err
	}
	c.method = h.method
	key, now, err := v.key(ctx, h)
	c.now = now
	return c, key, err
}

// readHeader also finds the method of the header's algorithm, nil if that is
// not accepted.
func (v *Verifier) readHeader(s *scratch, c compact) (header, error) {
	if known := v.header.Load(); known != nil && known.segment == c.header {
		return known.header, nil
	}
	h, err := s.parseHeader(c)
	h.method = v.methods[h.algorithm]
	return h, err
}

// key finds the key that the header names. The token does not choose the
// algorithm: the key has one, and the header must agree.
func (v *Verifier) key(ctx context.Context, h header) (*jwk.Key, time.Time, error) {
	if h.method == nil {
		return nil, time.Time{}, errAlgorithm
	}
	key, now, err := v.keyAndTime(ctx, h.keyID)
	if err == nil && key.Algorithm() != h.algorithm {
		err = errKeyAlg
	}
	return key, now, err
}

// keyAndTime finds a key. The time is that of a moment when it was good: there
// is no waiting any more between that and the verdict on a token.
func (v *Verifier) keyAndTime(ctx context.Context, keyID string) (*jwk.Key, time.Time, error) {
	if s, ok := v.keys.(*source); ok {
		return s.keyAndTime(ctx, keyID)
	}
	key, err := v.keys.Key(ctx, keyID)
	return key, time.Now(), err
}

// check verifies the signature, and only then reads the claims.
func (v *Verifier) check(claims *claims, c *compact, key *jwk.Key) error {
	if len(c.signature) != key.SignatureSize() {
		return errSignature
	}
	if c.method.Verify(c.signingInput, c.signature, key.Public()) != nil {
		return errSignature
	}
	v.noteHeader(c, key)
	if err := v.layouts.parse(claims, c.payload); err != nil {
		return err
	}
	return v.validate(claims, c.now)
}

// noteHeader remembers the header of a token whose signature was good.
func (v *Verifier) noteHeader(c *compact, key *jwk.Key) {
	if known := v.header.Load(); known != nil && known.segment == c.header {
		return
	}
	// A copy: the segment is a part of the token, which must not live on.
	v.header.Store(&knownHeader{strings.Clone(c.header), header{key.Algorithm(), key.ID(), c.method}})
}
