// Package jwk is the public side of signing keys: JSON Web Keys and JWK Sets
// (RFC 7517), as an issuer publishes them and a verifier may trust them.
//
// # Keys
//
// A [Key] is a public key for exactly one signature algorithm of a closed list
// ([Algorithms]), named by its RFC 7638 thumbprint. Every Key is sound: [New] and
// [Parse] check the curve, the point, the order and the size, so a Key is safe to
// verify with.
//
// # JWK Sets
//
// [ParseSet] distinguishes two kinds of problems. A document that is not a JWK
// Set, or that contradicts itself, is refused as a whole: keep the last good one.
// A single key that cannot be used is left out and listed by [Set.Skipped],
// because an issuer may publish keys that are newer than this verifier:
//
//	> Implementations SHOULD ignore JWKs within a JWK Set that use "kty"
//	> (key type) values that are not understood by them, that are missing
//	> required members, or for which values are out of the supported ranges.
//	(RFC 7517, Section 5)
//
// Private keys are refused.
package jwk
