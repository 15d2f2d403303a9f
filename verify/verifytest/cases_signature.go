package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // a signature that must be refused
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"math/big"
	"slices"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
)

// publicOctets returns the raw octets of a public key.
func publicOctets(s *signer) []byte {
	switch public := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		return must(public.Bytes())
	case ed25519.PublicKey:
		return public
	case *rsa.PublicKey:
		return public.N.Bytes()
	default:
		panic("verifytest: unknown kind of key")
	}
}

// changed applies a change to the octets of a good signature.
func changed(change func(signature []byte) []byte) signing {
	return func(f *forge, input string) []byte { return change(f.key.sign(input)) }
}

// octets is a signature that is unrelated to the token.
func octets(value byte, repeat int) signing {
	return func(*forge, string) []byte { return slices.Repeat([]byte{value}, repeat) }
}

// signatureCases apply to signatures of any algorithm.
func signatureCases() []Case {
	const why, source = "the signature is not one of this token", "RFC 7515, Section 5.2"
	bad := func(id, title string, by signing) Case { return refuse(id, title, why, source, signed(by)) }
	over := func(what func(f *forge, input string) string) signing {
		return func(f *forge, input string) []byte { return f.key.sign(what(f, input)) }
	}
	return []Case{
		bad("signature-zeros", "64 zeros", octets(0, 64)),
		bad("signature-one-octet", "one octet", octets(0, 1)),
		bad("signature-ones", "64 times 255", octets(255, 64)),
		bad("signature-first-bit", "the first bit changed", changed(func(s []byte) []byte { s[0] ^= 0x80; return s })),
		bad("signature-last-bit", "the last bit changed", changed(func(s []byte) []byte { s[len(s)-1] ^= 1; return s })),
		bad("signature-truncated", "an octet less", changed(func(s []byte) []byte { return s[:len(s)-1] })),
		bad("signature-half", "the first half", changed(func(s []byte) []byte { return s[:len(s)/2] })),
		bad("signature-extended", "an octet more", changed(func(s []byte) []byte { return append(s, 0) })),
		bad("signature-zero-before", "a zero in front", changed(func(s []byte) []byte { return append([]byte{0}, s...) })),
		bad("signature-twice", "the signature twice", changed(func(s []byte) []byte { return append(s, s...) })),
		bad("signature-reversed", "the octets in reverse", changed(func(s []byte) []byte { slices.Reverse(s); return s })),
		bad("signature-hexadecimal", "the signature in hexadecimal", changed(func(s []byte) []byte {
			return []byte(hex.EncodeToString(s))
		})),
		bad("signature-of-header", "signed is the header alone", over(func(_ *forge, input string) string {
			return input[:strings.IndexByte(input, '.')]
		})),
		bad("signature-of-claims", "signed are the claims alone", over(func(_ *forge, input string) string {
			return input[strings.IndexByte(input, '.')+1:]
		})),
		bad("signature-of-text", "signed are the texts before they were encoded", over(func(f *forge, _ string) string {
			return f.expand(goodHeader) + "." + f.expand(goodClaims)
		})),
		bad("signature-of-nothing", "signed is the empty text", over(func(*forge, string) string { return "" })),
		bad("signature-of-hash", "signed is the SHA-256 of the token", over(func(_ *forge, input string) string {
			sum := sha256.Sum256([]byte(input))
			return string(sum[:])
		})),
		refuse("signature-of-another-token", "the signature of another token of the issuer's",
			"whoever has one token can write any other", source, func(f *forge) string {
				other := rewrite(goodClaims, []string{`$sub`, `00000000-0000-4000-8000-000000000000`})
				token := f.sign(f.expand(goodHeader), f.expand(other), byKey)
				good := header()(f)
				return good[:strings.LastIndexByte(good, '.')] + token[strings.LastIndexByte(token, '.'):]
			}),
		refuse("claims-changed", "another customer after signing", "whoever has a token can write any other",
			source, func(f *forge) string {
				other := rewrite(goodClaims, []string{`$sub`, `00000000-0000-4000-8000-000000000000`})
				parts := strings.Split(header()(f), ".")
				return parts[0] + "." + encode(f.expand(other)) + "." + parts[2]
			}),
	}
}

// es256Cases are malformed and forged ECDSA signatures.
func es256Cases() []Case {
	const psychic = "CVE-2022-21449"
	const outside, source = "r and s are from 1 to n - 1, of 32 octets each", "RFC 7518, Section 3.4; FIPS 186-5, Section 6.4.2"
	zero, one, n := big.NewInt(0), big.NewInt(1), elliptic.P256().Params().N
	pair := func(id, title, source string, r, s *big.Int) Case {
		return refuse(id, title, outside, source,
			signed(func(*forge, string) []byte { return join(r, s) })).on(jwk.ES256)
	}
	numbers := func(id, title string, change func(r, s *big.Int) []byte) Case {
		return refuse(id, title, outside, source, signed(changed(func(signature []byte) []byte {
			return change(new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}))).on(jwk.ES256)
	}
	twin := numbers("es256-twin", "the other signature, r and n - s", func(r, s *big.Int) []byte {
		return join(r, s.Sub(n, s))
	})
	twin.Why = "anyone who has the token can compute it without the key, and so write one token in two ways"
	return []Case{
		pair("es256-zeros", "r and s zero", psychic, zero, zero),
		pair("es256-zero-one", "r zero, s one", psychic, zero, one),
		pair("es256-one-zero", "r one, s zero", psychic, one, zero),
		pair("es256-one-one", "r and s one", source, one, one),
		pair("es256-n-n", "r and s n", psychic, n, n),
		pair("es256-zero-n", "r zero, s n", psychic, zero, n),
		pair("es256-n-one", "r n, s one", source, n, one),
		numbers("es256-swapped", "r and s swapped", func(r, s *big.Int) []byte { return join(s, r) }),
		numbers("es256-negative", "n - r and n - s", func(r, s *big.Int) []byte { return join(r.Sub(n, r), s.Sub(n, s)) }),
		numbers("es256-s-plus-n", "s + n in 33 octets", func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, 32)), s.Add(s, n).FillBytes(make([]byte, 33))...)
		}),
		numbers("es256-r-plus-n", "r + n in 33 octets", func(r, s *big.Int) []byte {
			return append(r.Add(r, n).FillBytes(make([]byte, 33)), s.FillBytes(make([]byte, 32))...)
		}),
		numbers("es256-long", "r and s in 48 octets each, as ES384 has them", func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
		}),
		numbers("es256-leading-zero", "r and s in 33 octets each", func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, 33)), s.FillBytes(make([]byte, 33))...)
		}),
		refuse("es256-der", "the signature in DER", "a JWS holds r and s themselves", "RFC 7518, Section 3.4",
			signed(func(f *forge, input string) []byte {
				sum := sha256.Sum256([]byte(input))
				return must(f.key.private.Sign(rand.Reader, sum[:], crypto.SHA256))
			})).on(jwk.ES256),
		refuse("es256-sha512", "ECDSA with SHA-512", "the algorithm says SHA-256", "RFC 7518, Section 3.4",
			signed(ecdsaOver(sha512.New))).on(jwk.ES256),
		refuse("es256-sha1", "ECDSA with SHA-1", "the algorithm says SHA-256", "RFC 7518, Section 3.4",
			signed(ecdsaOver(sha1.New))).on(jwk.ES256),
		twin.ours(),
	}
}

// ecdsaOver signs with a hash other than SHA-256.
func ecdsaOver(newHash func() hash.Hash) signing {
	return func(f *forge, input string) []byte {
		h := newHash()
		h.Write([]byte(input))
		return join(integers(must(f.key.private.Sign(rand.Reader, h.Sum(nil), hashOf(h)))))
	}
}

// hashOf returns the identifier of a hash for crypto.Signer.
func hashOf(h hash.Hash) crypto.Hash {
	for _, known := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if known.Size() == h.Size() {
			return known
		}
	}
	panic("verifytest: unknown hash")
}

// eddsaCases are Ed25519 signatures that RFC 8032 does not decode, or that use
// a variant outside RFC 8037.
func eddsaCases() []Case {
	const why, source = "a token has two spellings", "RFC 8032, Section 5.1.7"
	const variant = "it is of another variant than RFC 8037 uses"
	identity := append([]byte{1}, make([]byte, 63)...)
	return []Case{
		refuse("eddsa-s-plus-l", "S + L", why, source+"; CVE-2020-36843", signed(changed(plusOrder))).on(jwk.EdDSA),
		refuse("eddsa-identity", "the neutral point and S zero", "it verifies under keys of small order",
			"RFC 8032, Section 5.1.7; Chalkias et al., Taming the Many EdDSAs, 2020",
			signed(func(*forge, string) []byte { return identity })).on(jwk.EdDSA),
		refuse("eddsa-high-bits", "the three high bits of S set", why, source,
			signed(changed(func(s []byte) []byte { s[63] |= 0xe0; return s }))).on(jwk.EdDSA),
		refuse("eddsa-sign-of-r", "the sign bit of R changed", "R is a part of the signature", source,
			signed(changed(func(s []byte) []byte { s[31] ^= 0x80; return s }))).on(jwk.EdDSA),
		refuse("eddsa-swapped", "S before R", "the signature is not one of this token", source,
			signed(changed(func(s []byte) []byte { return slices.Concat(s[32:], s[:32]) }))).on(jwk.EdDSA),
		refuse("eddsa-prehashed", "Ed25519ph", variant, "RFC 8037, Section 3.1; RFC 8032, Section 5.1",
			signed(func(f *forge, input string) []byte {
				sum := sha512.Sum512([]byte(input))
				return must(f.key.private.Sign(rand.Reader, sum[:], &ed25519.Options{Hash: crypto.SHA512}))
			})).on(jwk.EdDSA),
		refuse("eddsa-context", "Ed25519ctx", variant, "RFC 8037, Section 3.1; RFC 8032, Section 5.1",
			signed(func(f *forge, input string) []byte {
				return must(f.key.private.Sign(rand.Reader, []byte(input), &ed25519.Options{Context: "JWS"}))
			})).on(jwk.EdDSA),
	}
}

// plusOrder adds L, the order of the group, to S (RFC 8032, Section 5.1).
func plusOrder(signature []byte) []byte {
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(signature[:32], sum...)
}

// rs256Cases are RSA signatures with bad padding.
func rs256Cases() []Case {
	const why, source = "the padding is not the one there can be", "RFC 8017, Section 8.2.2"
	const other = "the algorithm says SHA-256 and PKCS #1 v1.5"
	number := func(id, title string, change func(s, n *big.Int) *big.Int) Case {
		return refuse(id, title, why, source, signed(func(f *forge, input string) []byte {
			n := new(big.Int).SetBytes(publicOctets(f.key))
			s := change(new(big.Int).SetBytes(f.key.sign(input)), n)
			return s.FillBytes(make([]byte, max(f.key.key.SignatureSize(), len(s.Bytes()))))
		})).on(jwk.RS256)
	}
	return []Case{
		number("rs256-zero", "zero", func(s, _ *big.Int) *big.Int { return s.SetInt64(0) }),
		number("rs256-one", "one", func(s, _ *big.Int) *big.Int { return s.SetInt64(1) }),
		number("rs256-minus-one", "n - 1", func(s, n *big.Int) *big.Int { return s.Sub(n, big.NewInt(1)) }),
		number("rs256-plus-n", "s + n", func(s, n *big.Int) *big.Int { return s.Add(s, n) }),
		number("rs256-negative", "n - s", func(s, n *big.Int) *big.Int { return s.Sub(n, s) }),
		refuse("rs256-pss", "RSASSA-PSS", other, "RFC 7518, Sections 3.3 and 3.5", signed(pss)).on(jwk.RS256),
		refuse("rs256-sha1", "PKCS #1 v1.5 with SHA-1", other, "RFC 7518, Section 3.3",
			signed(pkcs1(sha1.New))).on(jwk.RS256),
		refuse("rs256-sha512", "PKCS #1 v1.5 with SHA-512", other, "RFC 7518, Section 3.3",
			signed(pkcs1(sha512.New))).on(jwk.RS256),
		refuse("rs256-no-digest-info", "no DigestInfo around the hash", why, source,
			signed(func(f *forge, input string) []byte {
				sum := sha256.Sum256([]byte(input))
				return must(f.key.private.Sign(rand.Reader, sum[:], crypto.Hash(0)))
			})).on(jwk.RS256),
		refuse("rs256-cube-root", "a forged signature for the exponent 3", why,
			"Bleichenbacher 2006; CVE-2006-4339; CVE-2016-1494", signed(cubeRoot)).on(jwk.RS256),
	}
}

func pss(f *forge, input string) []byte {
	sum := sha256.Sum256([]byte(input))
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	return must(f.key.private.Sign(rand.Reader, sum[:], options))
}

// pkcs1 signs with a hash other than SHA-256.
func pkcs1(newHash func() hash.Hash) signing {
	return func(f *forge, input string) []byte {
		h := newHash()
		h.Write([]byte(input))
		return must(f.key.private.Sign(rand.Reader, h.Sum(nil), hashOf(h)))
	}
}

// cubeRoot forges a signature for a key with exponent 3. It passes where a
// verifier does not check the padding to its end.
func cubeRoot(f *forge, input string) []byte {
	size := f.key.key.SignatureSize()
	sum := sha256.Sum256([]byte(input))
	// RFC 8017, Section 9.2: 00 01 FF … 00, the DigestInfo of SHA-256, the hash;
	// then room for the rest of the cube.
	prefix := []byte("\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00\x30\x31\x30\x0d\x06\x09" +
		"\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
	block := slices.Concat(prefix, sum[:], slices.Repeat([]byte{0xff}, size-len(prefix)-len(sum)))
	target := new(big.Int).SetBytes(block)
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(target.BitLen()/3+1))
	for one := big.NewInt(1); new(big.Int).Sub(high, low).Cmp(one) > 0; {
		middle := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		if new(big.Int).Exp(middle, big.NewInt(3), nil).Cmp(target) <= 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return low.FillBytes(make([]byte, size))
}
