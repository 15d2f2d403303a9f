package verify

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/verify/wire"
)

// Reasons why a token is not accepted, for [errors.Is]. ErrKeysUnavailable
// means "cannot tell" (503, try again); every other one means "no" (401).
// Where golang-jwt has an error for the same thing, that one matches too.
var (
	ErrMalformed       = errors.New("token is malformed")
	ErrAlgorithm       = errors.New("algorithm is not accepted")
	ErrUnknownKey      = errors.New("key is unknown")
	ErrSignature       = errors.New("signature is invalid")
	ErrType            = errors.New("token is of another type")
	ErrClaims          = errors.New("claims are invalid")
	ErrExpired         = errors.New("token has expired")
	ErrNotYetValid     = errors.New("token is not valid yet")
	ErrIssuer          = errors.New("issuer is not the expected one")
	ErrAudience        = errors.New("audience is not the expected one")
	ErrRevoked         = errors.New("session is revoked")
	ErrKeysUnavailable = errors.New("keys are unavailable")
)

// A failure is one of the errors above with its cause. Failures that need no
// detail of the token are made once, below: refusing garbage must not allocate.
type failure struct {
	reason error
	also   error // golang-jwt's error for the same, or nil
	detail string
}

func (f *failure) Error() string {
	text := "verify: " + f.reason.Error()
	if f.detail != "" {
		text += ": " + f.detail
	}
	return text
}

// Unwrap gives errors.Is both worlds.
func (f *failure) Unwrap() []error {
	if f.also == nil {
		return []error{f.reason}
	}
	return []error{f.reason, f.also}
}

func malformed(detail string) error {
	return &failure{ErrMalformed, jwt.ErrTokenMalformed, detail}
}

func badClaim(name, detail string) error {
	return &failure{ErrClaims, jwt.ErrTokenInvalidClaims, name + " " + detail}
}

var (
	errLength      = malformed("longer than 4096 bytes")
	errCompact     = malformed("not three segments of base64url")
	errHeader      = malformed("header is not strict JSON in canonical base64url")
	errHeaderShape = malformed("header is not alg, kid and typ, each a string")
	errPayload     = malformed("claims are not strict JSON in canonical base64url")
	errFoldedName  = malformed("a claim's name differs from a known one only by case")

	errLifetime  = badClaim(wire.ClaimExpiresAt, "is not after iat, or too far after it")
	errAudiences = badClaim(wire.ClaimAudience, "has more than 16 entries")

	errAlgorithm = &failure{ErrAlgorithm, jwt.ErrTokenUnverifiable, ""}
	errKeyAlg    = &failure{ErrAlgorithm, jwt.ErrTokenUnverifiable, "not the one of the key"}
	errType      = &failure{ErrType, nil, ""}
	errUnknown   = &failure{ErrUnknownKey, jwt.ErrTokenUnverifiable, ""}
	errRevoked   = &failure{ErrRevoked, nil, ""}
	errExpired   = &failure{ErrExpired, jwt.ErrTokenExpired, ""}
	errSignature = &failure{ErrSignature, jwt.ErrTokenSignatureInvalid, ""}
)
