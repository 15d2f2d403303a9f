package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/verify/internal/keyset"
	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

// Reasons why a token is not accepted, for [errors.Is]. ErrKeysUnavailable and
// ErrRevocationsUnavailable mean "cannot tell" (503, try again); every other one
// means "no" (401).
// Where golang-jwt has an error for the same thing, that one matches too.
var (
	ErrMalformed              = errors.New("token is malformed")
	ErrAlgorithm              = errors.New("algorithm is not accepted")
	ErrUnknownKey             = keyset.ErrUnknown
	ErrSignature              = errors.New("signature is invalid")
	ErrType                   = errors.New("token is of another type")
	ErrClaims                 = errors.New("claims are invalid")
	ErrExpired                = errors.New("token has expired")
	ErrNotYetValid            = errors.New("token is not valid yet")
	ErrIssuer                 = errors.New("issuer is not the expected one")
	ErrAudience               = errors.New("audience is not the expected one")
	ErrRevoked                = errors.New("session is revoked")
	ErrKeysUnavailable        = keyset.ErrUnavailable
	ErrRevocationsUnavailable = revocations.ErrUnavailable
)

// cannotTell reports whether an error says that a token cannot be judged now.
func cannotTell(err error) bool {
	return errors.Is(err, ErrKeysUnavailable) || errors.Is(err, ErrRevocationsUnavailable)
}

// A failure is one of the errors above, with the prefix of this package.
type failure struct {
	reason error
	also   error // golang-jwt's error for the same, or the cause, or nil
	detail string
}

func (f *failure) Error() string {
	text := "verify: " + f.reason.Error()
	if f.detail != "" {
		text += ": " + f.detail
	}
	return text
}

// Unwrap lets errors.Is find both errors.
func (f *failure) Unwrap() []error {
	if f.also == nil {
		return []error{f.reason}
	}
	return []error{f.reason, f.also}
}

// unavailable makes an error of a key source one of this package's: whatever
// kept it from an answer, the token cannot be judged now.
func unavailable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrKeysUnavailable):
		return fmt.Errorf("verify: %w", err)
	default:
		return fmt.Errorf("verify: %w: %w", ErrKeysUnavailable, err)
	}
}

// An ExpiredError is the [ErrExpired] of a token that has nothing else wrong with
// it. It names the session that has ended, so that a page can lead back to the shop,
// or ask for a new link. Do not accept the session: the holder of an old link may be
// anyone. Whether it was also ended before it expired has not been checked.
type ExpiredError struct {
	Session Session
}

// newExpiredError returns the error for a session, with lists of its own.
func newExpiredError(s *Session) *ExpiredError {
	expired := *s
	expired.Audience, expired.Scopes = slices.Clone(s.Audience), slices.Clone(s.Scopes)
	return &ExpiredError{expired}
}

// Error says nothing of the session.
func (e *ExpiredError) Error() string { return errExpired.Error() }

// Unwrap returns an error that is [ErrExpired] and golang-jwt's.
func (e *ExpiredError) Unwrap() error { return errExpired }

func malformed(detail string) error {
	return &failure{ErrMalformed, jwt.ErrTokenMalformed, detail}
}

func badClaim(name, detail string) error {
	return &failure{ErrClaims, jwt.ErrTokenInvalidClaims, name + " " + detail}
}

var (
	errLength      = malformed("longer than 4096 bytes")
	errCompact     = malformed("not three segments of canonical base64url")
	errHeader      = malformed("header is not strict JSON")
	errHeaderShape = malformed("header is not alg, kid and typ, each a string")
	errPayload     = malformed("claims are not strict JSON")
	errFoldedName  = malformed("a claim's name differs from a known one only by case")

	errMember   = badClaim(wire.ClaimMemberID, "and "+wire.ClaimRole+" are not together")
	errLifetime = badClaim(wire.ClaimExpiresAt, "is not after iat, or too far after it")

	errAlgorithm = &failure{ErrAlgorithm, jwt.ErrTokenUnverifiable, ""}
	errKeyAlg    = &failure{ErrAlgorithm, jwt.ErrTokenUnverifiable, "not the one of the key"}
	errType      = &failure{ErrType, nil, ""}
	errUnknown   = &failure{ErrUnknownKey, jwt.ErrTokenUnverifiable, ""}
	errNoKey     = &failure{ErrKeysUnavailable, nil, "the KeySource returned neither a key nor an error"}
	errRevoked   = &failure{ErrRevoked, nil, ""}
	errExpired   = &failure{ErrExpired, jwt.ErrTokenExpired, ""}
	errSignature = &failure{ErrSignature, jwt.ErrTokenSignatureInvalid, ""}

	errOtherIssuer   = &failure{ErrIssuer, jwt.ErrTokenInvalidIssuer, "the session is not one of this verifier"}
	errOtherAudience = &failure{ErrAudience, jwt.ErrTokenInvalidAudience, "the session is not one of this verifier"}
)
