package jwk

import "errors"

// Reasons not to use a single key.
var (
	ErrMalformed     = errors.New("jwk: a member is missing, of the wrong type or not canonical base64url")
	ErrUnsupported   = errors.New("jwk: key type, curve or algorithm is not supported")
	ErrNotForVerify  = errors.New(`jwk: "use" or "key_ops" does not allow verifying`)
	ErrPrivate       = errors.New("jwk: private or symmetric key where a public one is expected")
	ErrContradiction = errors.New(`jwk: "alg" does not fit the key`)
	ErrPoint         = errors.New("jwk: public point is not on the curve or not canonical")
	ErrSmallOrder    = errors.New("jwk: Ed25519 key of small order verifies forgeries")
	ErrRSA           = errors.New("jwk: RSA modulus is not odd and 2048 to 8192 bits long, or the exponent is not 65537")
	ErrThumbprint    = errors.New(`jwk: "kid" is not the thumbprint of the key`)
)

// Reasons to refuse a JWK Set as a whole.
var (
	ErrNotASet     = errors.New("jwk: not a JWK Set")
	ErrEmptySet    = errors.New("jwk: JWK Set holds no usable key")
	ErrTooManyKeys = errors.New("jwk: JWK Set holds more than 64 keys")
	ErrAmbiguous   = errors.New(`jwk: two different keys have the same "kid"`)
)
