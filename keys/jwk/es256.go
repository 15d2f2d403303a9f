package jwk

import (
	"bytes"
	"math/big"
)

// For each ES256 signature (r, s) there is a second valid one, (r, n-s), n
// being the order of P-256. We use the one with the smaller s, so that a token
// has one spelling.
const (
	// order is n (NIST SP 800-186, Section 3.2.1.3), big-endian.
	order = "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"
	// halfOrder is n/2, rounded down.
	halfOrder = "\x7f\xff\xff\xff\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xde\x73\x7d\x56\xd3\x8b\xcf\x42\x79\xdc\xe5\x61\x7e\x31\x92\xa8"
)

// IsLowS reports whether s is at most n/2 in an ES256 signature, the 64 bytes
// of r and s (RFC 7518, Section 3.4). It is false for any other length.
func IsLowS(signature []byte) bool {
	return len(signature) == 64 && bytes.Compare(signature[32:], []byte(halfOrder)) <= 0
}

// NormalizeS replaces s by n-s in an ES256 signature with s above n/2. It
// leaves alone what is not a signature: another length, or an s not below n.
func NormalizeS(signature []byte) {
	if len(signature) != 64 || IsLowS(signature) || bytes.Compare(signature[32:], []byte(order)) >= 0 {
		return
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(new(big.Int).SetBytes([]byte(order)), s).FillBytes(signature[32:])
}
