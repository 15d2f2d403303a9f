package verifytest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"hash"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
)

// noneCases are tokens that claim to need no signature.
func noneCases() []Case {
	const why, source = "anybody can write it", "RFC 8725, Section 2.1; CVE-2018-1000531"
	const obfuscated = "RFC 8725, Section 3.1; Knight, JSON Web Token Validation Bypass in Auth0 Authentication API, 2020"
	return []Case{
		refuse("none", "alg none and an empty signature", why, source, forged(byNobody, `$alg`, `none`)),
		refuse("none-two-segments", "alg none and no signature segment", why, source,
			func(f *forge) string {
				return strings.TrimSuffix(forged(byNobody, `$alg`, `none`)(f), ".")
			}),
		refuse("none-dummy-signature", "alg none and any signature", why, source,
			forged(func(*forge, string) []byte { return []byte("signature") }, `$alg`, `none`)),
		refuse("none-attacker-signature", "alg none and an attacker's signature", why, source,
			forged(byAttacker, `$alg`, `none`)),
		refuse("none-good-signature", "alg none over a good signature",
			"the algorithm that it names makes no signatures", source, header(`$alg`, `none`)),
		refuse("none-capitalized", "alg None", why, obfuscated, forged(byNobody, `$alg`, `None`)),
		refuse("none-upper", "alg NONE", why, obfuscated, forged(byNobody, `$alg`, `NONE`)),
		refuse("none-mixed", "alg nOnE", why, obfuscated, forged(byNobody, `$alg`, `nOnE`)),
		refuse("none-space", "alg none with a space", why, obfuscated, forged(byNobody, `$alg`, `none `)),
		refuse("none-nul", "alg none with a NUL", why, obfuscated, forged(byNobody, `$alg`, `none\u0000`)),
		refuse("none-escaped", "alg none, escaped", why, obfuscated, forged(byNobody, `$alg`, `\u006eone`)),
		refuse("none-list", "alg a list with none", why, obfuscated, forged(byNobody, `"$alg"`, `["none"]`)),
		refuse("none-claim", "alg none in the claims, nothing in the header", why, source,
			func(f *forge) string {
				text := f.expand(rewrite(goodClaims, []string{`{`, `{"alg":"none",`}))
				return f.sign(`{"typ":"JWT"}`, text, byNobody)
			}),
		refuse("alg-missing-unsigned", "no alg and an empty signature", why, source,
			forged(byNobody, `"alg":"$alg",`, ``)),
		refuse("alg-empty-unsigned", "an empty alg and an empty signature", why, source,
			forged(byNobody, `$alg`, ``)),
		refuse("alg-null-unsigned", "alg null and an empty signature", why, source,
			forged(byNobody, `"$alg"`, `null`)),
	}
}

// algorithmCases have a good signature and an alg that names no algorithm.
func algorithmCases() []Case {
	const named, source = "alg must be the name of an algorithm", "RFC 7515, Section 4.1.1"
	const exact = "names of algorithms compare exactly"
	return []Case{
		refuse("alg-missing", "no alg", "alg must be there", source, header(`"alg":"$alg",`, ``)),
		refuse("alg-empty", "an empty alg", named, source, header(`$alg`, ``)),
		refuse("alg-null", "alg null", named, source, header(`"$alg"`, `null`)),
		refuse("alg-number", "alg a number", named, source, header(`"$alg"`, `256`)),
		refuse("alg-true", "alg true", named, source, header(`"$alg"`, `true`)),
		refuse("alg-list", "alg a list", named, source, header(`"$alg"`, `["$alg"]`)),
		refuse("alg-object", "alg an object", named, source, header(`"$alg"`, `{"name":"$alg"}`)),
		refuse("alg-space-after", "alg with a space after", exact, source, header(`$alg`, `$alg `)),
		refuse("alg-space-before", "alg with a space before", exact, source, header(`$alg`, ` $alg`)),
		refuse("alg-nul", "alg with a NUL", exact, source, header(`$alg`, `$alg\u0000`)),
		refuse("alg-lower", "es256", exact, source, header(`$alg`, `es256`)).on(jwk.ES256),
		refuse("alg-eddsa-case", "EDDSA", exact, source, header(`$alg`, `EDDSA`)).on(jwk.EdDSA),
		refuse("alg-full-width", "ES256 with a full-width digit", exact, source,
			header(`$alg`, "ES25\uff16")).on(jwk.ES256),
		refuse("alg-digest-uri", "an XML signature URI for an algorithm", exact, "RFC 7518, Appendix A.1",
			header(`$alg`, `http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256`)).on(jwk.ES256),
		refuse("alg-name-in-header", "ALG instead of alg", "names of members compare exactly",
			"RFC 7515, Section 4", header(`"alg"`, `"ALG"`)),
	}
}

// secretCases use public data about the key as the secret of an HMAC.
func secretCases() []Case {
	const public = "a public key is no secret"
	const source = "CVE-2015-9235; CVE-2016-10555; RFC 8725, Section 2.1"
	return []Case{
		refuse("hs256-pem", "HMAC with the public key in PEM", public, source+"; CVE-2023-48223", hs256(publicPEM)),
		refuse("hs256-pem-trimmed", "HMAC with the public key in PEM, no line break at the end", public, source,
			hs256(func(s *signer) []byte { return bytes.TrimSpace(publicPEM(s)) })),
		refuse("hs256-pem-crlf", "HMAC with the public key in PEM, CRLF", public, source,
			hs256(func(s *signer) []byte { return bytes.ReplaceAll(publicPEM(s), []byte("\n"), []byte("\r\n")) })),
		refuse("hs256-certificate", "HMAC with the key's certificate in PEM", public, source,
			hs256(func(s *signer) []byte {
				return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate()})
			})),
		refuse("hs256-pkcs1-pem", "HMAC with the public key in PEM, PKCS #1", public, "CVE-2017-11424",
			hs256(func(s *signer) []byte {
				octets := x509.MarshalPKCS1PublicKey(s.key.Public().(*rsa.PublicKey)) //nolint:forcetypeassert // RS256
				return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: octets})
			})).on(jwk.RS256),
		refuse("hs256-ssh", "HMAC with the public key as OpenSSH writes it", public, "CVE-2022-29217",
			hs256(func(s *signer) []byte {
				octets := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), publicOctets(s)...)
				return []byte("ssh-ed25519 " + base64.StdEncoding.EncodeToString(octets))
			})).on(jwk.EdDSA),
		refuse("hs256-der", "HMAC with the public key in DER", public, source, hs256(publicDER)),
		refuse("hs256-der-base64", "HMAC with the public key in base64", public, source,
			hs256(func(s *signer) []byte { return []byte(base64.StdEncoding.EncodeToString(publicDER(s))) })),
	}
}

// textSecretCases use other texts about the key, and guesses, as the secret.
func textSecretCases() []Case {
	const public = "a public key is no secret"
	const source = "CVE-2015-9235; CVE-2016-10555; RFC 8725, Section 2.1"
	const guess, guessed = "a secret that can be guessed is none", "RFC 8725, Sections 2.2 and 3.5"
	return []Case{
		refuse("hs256-jwk", "HMAC with the public key as a JWK", public, source,
			hs256(func(s *signer) []byte { return s.key.AppendJSON(nil) })),
		refuse("hs256-jwk-set", "HMAC with the JWK Set", public, source, func(f *forge) string {
			return forged(hmacOf(sha256.New, f.issuer.JWKSet()), `$alg`, `HS256`)(f)
		}),
		refuse("hs256-raw-key", "HMAC with the bare octets of the public key", public,
			"Wycheproof, json_web_signature 31", hs256(publicOctets)),
		refuse("hs256-kid", "HMAC with the key ID", public, source,
			hs256(func(s *signer) []byte { return []byte(s.key.ID()) })),
		refuse("hs384-pem", "HS384 with the public key in PEM", public, source, func(f *forge) string {
			return forged(hmacOf(sha512.New384, publicPEM(f.key)), `$alg`, `HS384`)(f)
		}),
		refuse("hs512-pem", "HS512 with the public key in PEM", public, source, func(f *forge) string {
			return forged(hmacOf(sha512.New, publicPEM(f.key)), `$alg`, `HS512`)(f)
		}),
		refuse("hmac-lower-pem", "hs256 with the public key in PEM", public, source, func(f *forge) string {
			return forged(hmacOf(sha256.New, publicPEM(f.key)), `$alg`, `hs256`)(f)
		}),
		refuse("hmac-under-key-alg", "an HMAC with the public key where a signature should be", public, source,
			func(f *forge) string { return signed(hmacOf(sha256.New, publicPEM(f.key)))(f) }),
		refuse("hs256-empty-secret", "HMAC with an empty secret", guess, "RFC 7518, Section 3.2",
			forged(hmacOf(sha256.New, nil), `$alg`, `HS256`)),
		refuse("hs256-zero-secret", "HMAC with a secret of zeros", guess, guessed,
			forged(hmacOf(sha256.New, make([]byte, 32)), `$alg`, `HS256`)),
		refuse("hs256-weak-secret", "HMAC with the secret secret", guess, guessed,
			forged(hmacOf(sha256.New, []byte("secret")), `$alg`, `HS256`)),
	}
}

func hmacOf(newHash func() hash.Hash, secret []byte) signing {
	return func(_ *forge, input string) []byte {
		mac := hmac.New(newHash, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

// hs256 makes a token whose HMAC secret is derived from the public key.
func hs256(secret func(*signer) []byte) builder {
	return func(f *forge) string {
		return forged(hmacOf(sha256.New, secret(f.key)), `$alg`, `HS256`)(f)
	}
}

func publicDER(s *signer) []byte { return must(x509.MarshalPKIXPublicKey(s.key.Public())) }

func publicPEM(s *signer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(s)})
}

// confusionCases have the alg of a different kind of key.
func confusionCases() []Case {
	const source = "RFC 8725, Sections 2.1 and 3.1"
	var cases []Case
	for _, key := range jwk.Algorithms() {
		for _, other := range append(jwk.Algorithms(), "ES384", "ES512", "ES256K", "PS256", "RS384", "Ed448", "HS256") {
			if key == other {
				continue
			}
			id := strings.ToLower(string(other)) + "-on-" + strings.ToLower(string(key)) + "-key"
			cases = append(cases, refuse(id, string(other)+" with a key for "+string(key),
				"a key is for one algorithm, and the token does not choose it", source,
				header(`$alg`, string(other))).on(key))
		}
	}
	const alias = "the name is not the one that the key's JWK has"
	return append(cases,
		accept("ed25519-name", "Ed25519 instead of EdDSA", "it is a second name of the same algorithm", "RFC 9864, Section 2.2",
			header(`$alg`, `Ed25519`)).on(jwk.EdDSA).ours(),
		refuse("esp256-name", "the COSE name ESP256 instead of ES256", alias, "RFC 9864, Section 2.1",
			header(`$alg`, `ESP256`)).on(jwk.ES256),
		refuse("ps256-signature-on-rs256-key", "a good PS256 signature with a key for RS256",
			"a key is for one algorithm", "RFC 8725, Section 3.1; RFC 8017, Section 8",
			forged(pss, `$alg`, `PS256`)).on(jwk.RS256),
		refuse("rs512-signature-on-rs256-key", "a good RS512 signature with a key for RS256",
			"a key is for one algorithm", "RFC 8725, Section 3.1",
			forged(pkcs1(sha512.New), `$alg`, `RS512`)).on(jwk.RS256),
		refuse("es512-signature-on-es256-key", "ECDSA with SHA-512 and a key for ES256",
			"a key is for one algorithm", "RFC 8725, Section 3.1",
			forged(ecdsaOver(sha512.New), `$alg`, `ES512`)).on(jwk.ES256),
	)
}
