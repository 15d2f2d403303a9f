package verify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// A jws is a token in the compact serialization (RFC 7515, Section 7.1), cut
// into its segments and decoded.
type jws struct {
	header, payload, signature []byte
	// signingInput is what the signature is over (RFC 7515, Section 5.1).
	signingInput string
}

// parseJWS cuts a token at its two dots and decodes the segments. Whatever is
// not base64url is refused here, before any cryptography.
func parseJWS(token string) (parsed jws, err error) {
	header, rest, _ := strings.Cut(token, ".")
	// A third dot stays in the signature, where it is not base64url.
	payload, signature, _ := strings.Cut(rest, ".")
	buffer := make([]byte, 0, base64url.DecodedLen(len(token)))
	for _, part := range [...]struct {
		octets  *[]byte
		segment string
	}{
		{&parsed.header, header}, {&parsed.payload, payload}, {&parsed.signature, signature},
	} {
		start := len(buffer)
		buffer, err = base64url.AppendDecode(buffer, []byte(part.segment))
		*part.octets = buffer[start:]
		// One spelling: encoding/base64 skips line breaks even in strict mode,
		// which the length shows.
		if err != nil || part.segment == "" || base64url.EncodedLen(len(*part.octets)) != len(part.segment) {
			return jws{}, errCompact
		}
	}
	parsed.signingInput = token[:len(header)+len(".")+len(payload)]
	return parsed, nil
}

// base64url refuses unused bits that are not zero (RFC 4648, Section 3.5).
var base64url = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // Strict makes a copy each time

// A header is what a JOSE header says (RFC 7515, Section 4).
type header struct {
	algorithm jwk.Algorithm
	keyID     string
}

// parseHeader reads a header of exactly "alg", "kid" and this "typ". The issuer
// writes no other member, so every attack that needs one ("crit", "jwk", "jku",
// "x5c", "b64", "zip") ends here.
func parseHeader(text []byte, tokenType string) (h header, err error) {
	typed, members := false, 0
	_, err = ijson.Members(text, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		value, ok := v.Text()
		if !ok {
			return errHeaderShape
		}
		switch string(name) {
		case "alg":
			h.algorithm = algorithm(value)
		case "kid":
			h.keyID = string(value)
		case "typ":
			typed = isTokenType(value, tokenType)
		default:
			return errHeaderShape
		}
		members++
		return nil
	})
	switch {
	case errors.Is(err, ErrMalformed):
		return header{}, err
	case err != nil:
		return header{}, errHeader
	case members != 3: // no name comes twice, so these are the three
		return header{}, errHeaderShape
	case !typed:
		return header{}, errType
	}
	return h, nil
}

// algorithm returns the algorithm of that name, or "" if there is none. RFC 9864
// gives EdDSA with Ed25519 a name of its own.
func algorithm(name []byte) jwk.Algorithm {
	switch string(name) {
	case "ES256":
		return jwk.ES256
	case "EdDSA", "Ed25519":
		return jwk.EdDSA
	case "RS256":
		return jwk.RS256
	default:
		return ""
	}
}

// isTokenType compares a "typ" as media types compare: case is ignored, and
// "application/" may be left out (RFC 7515, Section 4.1.9). The lengths tell
// ASCII from letters that fold to it.
func isTokenType(typ []byte, tokenType string) bool {
	const prefix = "application/"
	if len(typ) == len(prefix)+len(tokenType) && bytes.EqualFold(typ[:len(prefix)], []byte(prefix)) {
		typ = typ[len(prefix):]
	}
	return len(typ) == len(tokenType) && bytes.EqualFold(typ, []byte(tokenType))
}
