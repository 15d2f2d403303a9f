package verify

import (
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"

	"github.com/customersession/customersession/verify/wire"
)

// A compact is a token cut into its parts (RFC 7515, Section 7.1). Strings share
// the token's memory, the other parts the scratch's.
type compact struct {
	token string
	// header is not decoded: it is most often one that is known.
	header string
	// signingInput is what the signature is over (RFC 7515, Section 5.1).
	signingInput string
	// method checks the signature; it is known once the header was read.
	method jwt.SigningMethod
	// now is the time at which the token is judged, when its key was found.
	now time.Time
	// payload and signature are decoded, and nothing else was done to them.
	payload, signature []byte
}

// open cuts a token at its two dots and decodes what comes after the first one.
// Decoding is the look at every character that must come before cryptography:
// it costs no more than that, and need not be done again.
func (s *scratch) open(token string) (c compact, err error) {
	if len(token) > wire.MaxTokenLength {
		return compact{}, errLength
	}
	first := strings.IndexByte(token, '.')
	second := first + 1 + strings.IndexByte(token[first+1:], '.')
	if first <= 0 || second <= first+1 || second == len(token)-1 {
		return compact{}, errCompact
	}
	c.token, c.header, c.signingInput = token, token[:first], token[:second]
	var ok bool
	if c.payload, ok = s.decode(0, token[first+1:second]); !ok {
		return compact{}, errCompact
	}
	// A third dot would be in here, and is as foreign as any other character.
	if c.signature, ok = s.decode(len(c.payload), token[second+1:]); !ok {
		return compact{}, errCompact
	}
	return c, nil
}

// A scratch is the memory that one verification works in. Verifiers keep them
// for the next one, so that a token costs few allocations and garbage none.
type scratch struct {
	text [wire.MaxTokenLength]byte
	// strings is cut into pieces that callers may keep, and change.
	strings []string
}

// decode reads a segment into s.text, from position at on.
func (s *scratch) decode(at int, segment string) ([]byte, bool) {
	n, ok := decodeBase64(s.text[at:], segment)
	return s.text[at : at+n : at+n], ok
}

// list returns a slice of n strings that nobody else has. It allocates once in
// a while rather than each time.
func (s *scratch) list(n int) []string {
	const enough = 128
	if len(s.strings) < n {
		s.strings = make([]string, max(n, enough))
	}
	list := s.strings[:n:n]
	s.strings = s.strings[n:]
	return list
}

// A header is what a token says about how it was signed.
type header struct {
	algorithm jwk.Algorithm
	keyID     string
	method    jwt.SigningMethod
}

// parseHeader reads a JOSE header that consists of "alg", "kid" and "typ".
// Our issuer writes no other, so every trick that needs another one ("crit",
// "jwk", "jku", "x5c", "b64", "zip") ends here.
func (s *scratch) parseHeader(c compact) (h header, err error) {
	text, ok := s.decode(len(c.payload)+len(c.signature), c.header)
	if !ok {
		return header{}, errHeader
	}
	var typ string
	var seen int
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
			typ = string(value)
		default:
			return errHeaderShape
		}
		seen++
		return nil
	})
	switch {
	case errors.Is(err, ErrMalformed):
		return header{}, err
	case err != nil:
		return header{}, errHeader
	case seen != 3: // no name comes twice, so these are the three
		return header{}, errHeaderShape
	case !isTokenType(typ):
		return header{}, errType
	}
	return h, nil
}

// algorithm returns the algorithm of that name, or "" for one that we do not
// know, without an allocation.
func algorithm(name []byte) jwk.Algorithm {
	for _, a := range jwk.Algorithms() {
		if string(name) == string(a) {
			return a
		}
	}
	return ""
}

// isTokenType compares a "typ" as media types compare, with or without the
// "application/" that RFC 7515, Section 4.1.9 lets one leave out.
func isTokenType(typ string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return len(typ) == len(wire.TokenType) && strings.EqualFold(typ, wire.TokenType)
}
