package verify

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// A compact is a token cut into its parts (RFC 7515, Section 7.1). All of them
// share the token's memory, and nothing of them is decoded yet.
type compact struct {
	header, payload, signature string
	// signingInput is what the signature is over (RFC 7515, Section 5.1).
	signingInput string
}

// foreign is 1 for the bytes that are not characters of base64url (RFC 4648,
// Section 5), and 0 for those that are.
//
//nolint:gochecknoglobals // a table that nothing changes
var foreign = func() (table [256]byte) {
	for i := range table {
		table[i] = 1
	}
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		table[c] = 0
	}
	return table
}()

// split cuts a token at its two dots. The look at every character comes before
// any decoding because encoding/base64 skips line breaks, even in strict mode.
func split(token string) (c compact, err error) {
	if len(token) > MaxTokenLength {
		return compact{}, errLength
	}
	first := strings.IndexByte(token, '.')
	second := strings.LastIndexByte(token, '.')
	if first <= 0 || second <= first+1 || second == len(token)-1 {
		return compact{}, errCompact
	}
	c = compact{
		header:       token[:first],
		payload:      token[first+1 : second],
		signature:    token[second+1:],
		signingInput: token[:second],
	}
	// A third dot would be in the payload, and is as foreign there as any.
	if !isBase64URL(c.header) || !isBase64URL(c.payload) || !isBase64URL(c.signature) {
		return compact{}, errCompact
	}
	return c, nil
}

// isBase64URL looks at eight characters at a time, and decides once for each
// eight: a token has many, and hardly ever a wrong one.
func isBase64URL(text string) bool {
	for len(text) >= 8 {
		if foreign[text[0]]|foreign[text[1]]|foreign[text[2]]|foreign[text[3]]|
			foreign[text[4]]|foreign[text[5]]|foreign[text[6]]|foreign[text[7]] != 0 {
			return false
		}
		text = text[8:]
	}
	for i := range len(text) {
		if foreign[text[i]] != 0 {
			return false
		}
	}
	return true
}

// strict is base64url in its one canonical spelling: no padding, and the
// unused low bits of the last character are zero (RFC 4648, Section 3.5).
//
//nolint:gochecknoglobals // making it copies a table
var strict = base64.RawURLEncoding.Strict()

// A scratch is the memory that one verification works in. Verifiers keep them
// for the next one, so that a token costs few allocations and garbage none.
type scratch struct {
	token  [MaxTokenLength]byte
	text   [MaxTokenLength]byte
	claims claims
	// strings is cut into pieces that callers may keep, and change.
	strings []string
}

// decode reads a segment, which ends up in memory that the next decode uses
// again. The token's characters were checked before.
func (s *scratch) decode(segment string) ([]byte, bool) {
	n := copy(s.token[:], segment)
	n, err := strict.Decode(s.text[:], s.token[:n])
	return s.text[:n], err == nil
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
}

// parseHeader reads a JOSE header that consists of "alg", "kid" and "typ".
// Our issuer writes no other, so every trick that needs another one ("crit",
// "jwk", "jku", "x5c", "b64", "zip") ends here.
func (s *scratch) parseHeader(segment string) (h header, err error) {
	text, ok := s.decode(segment)
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
	return len(typ) == len(TokenType) && strings.EqualFold(typ, TokenType)
}
