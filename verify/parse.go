package verify

import (
	"encoding/base64"
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

// base64url has the characters of RFC 4648, Section 5.
var base64url = func() (table [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		table[c] = true
	}
	return table
}()

// split cuts a token at its two dots. The scan over every character comes
// before any decoding because encoding/base64 skips line breaks, even in
// strict mode.
func split(token string) (c compact, err error) {
	if len(token) > MaxTokenLength {
		return compact{}, errLength
	}
	var dots [2]int
	n := 0
	for i := range len(token) {
		if base64url[token[i]] {
			continue
		}
		if token[i] != '.' || n == len(dots) {
			return compact{}, errCompact
		}
		dots[n] = i
		n++
	}
	first, second := dots[0], dots[1]
	if n != len(dots) || first == 0 || second == first+1 || second == len(token)-1 {
		return compact{}, errCompact
	}
	return compact{
		header:       token[:first],
		payload:      token[first+1 : second],
		signature:    token[second+1:],
		signingInput: token[:second],
	}, nil
}

// decode reads a segment in its one canonical spelling: unused low bits of the
// last character are zero (RFC 4648, Section 3.5).
func decode(segment string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	return b, err == nil
}

// A header is what a token says about how it was signed.
type header struct {
	algorithm jwk.Algorithm
	keyID     string
}

// parseHeader reads a JOSE header that consists of "alg", "kid" and "typ".
// Our issuer writes no other, so every trick that needs another one ("crit",
// "jwk", "jku", "x5c", "b64", "zip") ends here.
func parseHeader(segment string) (h header, err error) {
	text, ok := decode(segment)
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
	case err == errHeaderShape:
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
