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

	cache     *tokenCache // nil: off
	flights   flights
	scratches sync.Pool // of *scratch
	// header is the one of the last good token. Tokens of one key all have the
	// same, so it need not be read again and again.
	header atomic.Pointer[knownHeader]
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
func (v *Verifier) Verify(ctx context.Context, token string) (Session, error) {
	session, cached, err := v.verify(ctx, token)
	if v.observer != nil {
		v.observer.Verified(ctx, Verification{Result: resultOf(err), Cached: cached})
	}
	return session, err
}

// verify also tells whether the token was known already.
func (v *Verifier) verify(ctx context.Context, token string) (session Session, cached bool, err error) {
	if len(token) > MaxTokenLength {
		return Session{}, false, errLength
	}
	s, _ := v.scratches.Get().(*scratch)
	defer v.scratches.Put(s)
	if v.cache == nil {
		session, err = v.verifyAlone(ctx, s, token)
		return session, false, err
	}
	m := v.cache.mark(token)
	if known := v.cache.get(&m); known != nil {
		session, err = v.recheck(ctx, s, known)
		return session, true, err
	}
	session, err = v.verifyNew(ctx, s, m)
	return session, false, err
}

// recheck accepts a token that was verified before, if nothing has changed: its
// key is still good for it, it has not expired, nobody revoked it.
func (v *Verifier) recheck(ctx context.Context, s *scratch, known *verified) (Session, error) {
	key, err := v.keys.Key(ctx, known.session.KeyID)
	if err == nil && key != known.key && !key.Equal(known.key) {
		// Another key under the same ID: what the first one signed is worth
		// nothing now.
		err = errSignature
	}
	if err == nil && !time.Now().Before(known.until) {
		err = errExpired
	}
	if err != nil {
		v.cache.drop(known)
		return Session{}, err
	}
	return v.accept(known.copy(s))
}

// copy returns the session with lists that its caller may change.
func (k *verified) copy(s *scratch) Session {
	session := k.session
	audiences := len(session.Audience)
	list := s.list(audiences + len(session.Scopes))
	copy(list, session.Audience)
	copy(list[audiences:], session.Scopes)
	session.Audience = list[:audiences:audiences]
	if session.Scopes != nil {
		session.Scopes = list[audiences:]
	}
	return session
}

// accept is the last step: nobody has revoked the session.
func (v *Verifier) accept(session Session) (Session, error) {
	if v.isRevoked != nil && v.isRevoked(session) {
		return Session{}, errRevoked
	}
	return session, nil
}

// verifyAlone verifies a token that is not to be remembered.
func (v *Verifier) verifyAlone(ctx context.Context, s *scratch, token string) (Session, error) {
	c, key, err := v.prepare(ctx, s, token)
	if err != nil {
		return Session{}, err
	}
	claims, err := v.check(s, c, key)
	if err != nil {
		return Session{}, err
	}
	return v.accept(claims.sessionIn(s.list(claims.lists())))
}

// verifyNew verifies a token that the cache does not know, together with all
// callers that have the same one at the moment.
func (v *Verifier) verifyNew(ctx context.Context, s *scratch, m mark) (Session, error) {
	// Before callers are put together: each waits for keys as long as it likes.
	c, key, err := v.prepare(ctx, s, m.token)
	if err != nil {
		return Session{}, err
	}
	leads, flight := v.flights.join(&m)
	var known *verified
	switch {
	case leads != nil:
		known, err = v.lead(s, c, key, m, leads)
	case flight != nil:
		known, err = flight.result(ctx)
	default:
		known, err = v.remember(s, c, key, m.hash)
	}
	if err != nil {
		return Session{}, err
	}
	return v.accept(known.copy(s))
}

// lead checks a token for all who wait for it. Should the check panic, they get
// an error instead of waiting for ever.
func (v *Verifier) lead(s *scratch, c compact, key *jwk.Key, m mark, leads *slot) (known *verified, err error) {
	err = errSignature
	defer func() { leads.leave(known, err) }()
	// The one who led before may have been done between our look and our turn.
	if known = v.cache.get(&m); known != nil {
		return known, nil
	}
	return v.remember(s, c, key, m.hash)
}

// remember checks a token and keeps it when it is good.
func (v *Verifier) remember(s *scratch, c compact, key *jwk.Key, hash uint64) (*verified, error) {
	claims, err := v.check(s, c, key)
	if err != nil {
		return nil, err
	}
	known := &verified{mark: mark{hash, claims.token}, key: key, until: claims.session.ExpiresAt.Add(v.leeway)}
	list := known.lists[:]
	if n := claims.lists(); n > len(list) {
		list = make([]string, n)
	}
	known.session = claims.sessionIn(list)
	v.cache.put(known)
	return known, nil
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
	key, err := v.key(ctx, h)
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
func (v *Verifier) key(ctx context.Context, h header) (*jwk.Key, error) {
	if h.method == nil {
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

// check verifies the signature, and only then reads the claims.
func (v *Verifier) check(s *scratch, c compact, key *jwk.Key) (*claims, error) {
	if len(c.signature) != key.SignatureSize() {
		return nil, errSignature
	}
	if c.method.Verify(c.signingInput, c.signature, key.Public()) != nil {
		return nil, errSignature
	}
	v.noteHeader(c, key)
	claims, err := s.parseClaims(c, v.cache != nil)
	if err != nil {
		return nil, err
	}
	if err := v.validate(claims); err != nil {
		return nil, err
	}
	claims.session.KeyID = key.ID()
	return claims, nil
}

// noteHeader remembers the header of a token whose signature was good.
func (v *Verifier) noteHeader(c compact, key *jwk.Key) {
	if known := v.header.Load(); known != nil && known.segment == c.header {
		return
	}
	// A copy: the segment is a part of the token, which must not live on.
	v.header.Store(&knownHeader{strings.Clone(c.header), header{key.Algorithm(), key.ID(), c.method}})
}
