package verify

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/wire"
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
	for _, part := range []struct {
		segment string
		octets  *[]byte
	}{
		{header, &parsed.header}, {payload, &parsed.payload}, {signature, &parsed.signature},
	} {
		if *part.octets, err = decodeSegment(part.segment); err != nil {
			return jws{}, err
		}
	}
	parsed.signingInput = token[:len(header)+len(".")+len(payload)]
	return parsed, nil
}

// base64url refuses unused bits that are not zero (RFC 4648, Section 3.5).
var base64url = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // Strict makes a copy each time

// decodeSegment decodes base64url that is not empty. It accepts one spelling:
// encoding/base64 skips line breaks even in strict mode, which the length shows.
func decodeSegment(segment string) ([]byte, error) {
	octets, err := base64url.DecodeString(segment)
	if err != nil || segment == "" || base64url.EncodedLen(len(octets)) != len(segment) {
		return nil, errCompact
	}
	return octets, nil
}

// A header is what a JOSE header says (RFC 7515, Section 4).
type header struct {
	algorithm jwk.Algorithm
	keyID     string
}

// parseHeader reads a header of exactly "alg", "kid" and "typ". The issuer
// writes no other member, so every attack that needs one ("crit", "jwk", "jku",
// "x5c", "b64", "zip") ends here.
func parseHeader(text []byte) (h header, err error) {
	var typ string
	members := 0
	_, err = ijson.Members(text, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		value, ok := v.Text()
		if !ok {
			return errHeaderShape
		}
		switch string(name) {
		case "alg":
			h.algorithm = algorithm(string(value))
		case "kid":
			h.keyID = string(value)
		case "typ":
			typ = string(value)
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
	case !isTokenType(typ):
		return header{}, errType
	}
	return h, nil
}

// algorithm returns the algorithm of that name. RFC 9864 has given EdDSA with
// Ed25519 a name of its own.
func algorithm(name string) jwk.Algorithm {
	if name == "Ed25519" {
		return jwk.EdDSA
	}
	return jwk.Algorithm(name)
}

// isTokenType compares a "typ" as media types compare: case is ignored, and
// "application/" may be left out (RFC 7515, Section 4.1.9).
func isTokenType(typ string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return len(typ) == len(wire.TokenType) && strings.EqualFold(typ, wire.TokenType)
}
