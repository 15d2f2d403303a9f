package verifytest

import (
	"bytes"
	"compress/flate"

	"github.com/customersession/customersession/verify/wire"
)

// criticalCases have extensions that a verifier must understand or refuse.
func criticalCases() []Case {
	const crit, why = "RFC 7515, Section 4.1.11", "a critical extension is not understood"
	const b64 = "RFC 7797, Section 7"
	return []Case{
		refuse("crit-unknown", "an unknown critical extension", why, crit+"; CVE-2025-59420",
			header(`{`, `{"crit":["exp-policy"],"exp-policy":"strict",`)),
		refuse("crit-uri", "a critical extension with the name of a URI", why, crit,
			header(`{`, `{"crit":["http://example.com/UNDEFINED"],"http://example.com/UNDEFINED":true,`)),
		refuse("crit-absent-member", "a critical extension that is not in the header", why, crit,
			header(`{`, `{"crit":["exp-policy"],`)),
		refuse("crit-registered", "a critical member that is no extension", "only extensions may be listed", crit,
			header(`{`, `{"crit":["alg"],`)),
		refuse("crit-empty", "an empty list of critical extensions", "the list must not be empty", crit,
			header(`{`, `{"crit":[],`)),
		refuse("crit-string", "a critical extension that is not in a list", "it must be a list", crit,
			header(`{`, `{"crit":"exp-policy","exp-policy":"strict",`)),
		refuse("crit-null", "null for critical extensions", "it must be a list", crit,
			header(`{`, `{"crit":null,`)),
		refuse("crit-number", "a number among critical extensions", "it must be a list of names", crit,
			header(`{`, `{"crit":[1],`)),
		refuse("crit-b64-false", "an unencoded payload, signed as such",
			"a JWT's payload is encoded", b64, func(f *forge) string {
				h := encode(f.expand(rewrite(goodHeader, []string{`{`, `{"b64":false,"crit":["b64"],`})))
				text := f.expand(goodClaims)
				return h + "." + encode(text) + "." + encode(f.key.sign(h+"."+text))
			}),
		refuse("crit-b64-true", "b64 true, which is critical all the same", "a JWT has no b64", b64,
			header(`{`, `{"b64":true,"crit":["b64"],`)).ours(),
		refuse("b64-false-not-critical", "b64 false without crit", "a JWT has no b64", b64,
			header(`{`, `{"b64":false,`)).ours(),
		refuse("zip-compressed", "a compressed payload",
			"a signed token is not compressed; a small one may unpack to gigabytes",
			"RFC 7516, Section 4.1.3; CVE-2024-28176", segments(func(h, c string) (string, string) {
				h = string(append([]byte(`{"zip":"DEF",`), h[1:]...))
				return encode(h), encode(deflate(c))
			})),
		refuse("zip-not-compressed", "zip over a payload that is not compressed", "a signed token has no zip",
			"RFC 7516, Section 4.1.3", header(`{`, `{"zip":"DEF",`)).ours(),
	}
}

func deflate(text string) []byte {
	var packed bytes.Buffer
	w := must(flate.NewWriter(&packed, flate.BestCompression))
	must(w.Write([]byte(text)))
	must(0, w.Close())
	return packed.Bytes()
}

// typeCases are tokens of another type from the same issuer.
func typeCases() []Case {
	const why, source = "a token for another purpose passes for a session", "RFC 8725, Section 3.11"
	typ := func(id, title, value string) Case {
		return refuse(id, title, why, source, header(`"$typ"`, value)).ours()
	}
	return []Case{
		refuse("typ-missing", "no typ", why, source, header(`,"typ":"$typ"`, ``)).ours(),
		typ("typ-jwt", "a plain JWT", `"JWT"`),
		typ("typ-access-token", "an OAuth access token", `"at+jwt"`),
		typ("typ-logout-token", "a logout token", `"logout+jwt"`),
		typ("typ-dpop-proof", "a DPoP proof", `"dpop+jwt"`),
		typ("typ-security-event", "a security event", `"secevent+jwt"`),
		typ("typ-introspection", "an introspection answer", `"token-introspection+jwt"`),
		refuse("typ-code", "a code of a portal link, with all its claims",
			"a code is exchanged once, by the portal's server, and is no session", source, func(f *forge) string {
				return f.sign(f.expand(rewrite(goodHeader, []string{`"$typ"`, `"` + wire.CodeType + `"`})),
					f.expand(rewrite(goodClaims, []string{`"$aud"`, `"$iss"`, `{`, `{"session_exp":$exp,`})), byKey)
			}),
		typ("typ-code-for-audience", "a code for this audience", `"`+wire.CodeType+`"`),
		typ("typ-empty", "an empty typ", `""`),
		typ("typ-null", "typ null", `null`),
		typ("typ-list", "typ a list", `["$typ"]`),
		typ("typ-prefix", "only the beginning of the type", `"customer-session"`),
		typ("typ-suffix", "more than the type", `"$typ.v2"`),
		typ("typ-space", "the type and a space", `"$typ "`),
		typ("typ-parameter", "the type with a parameter", `"$typ; charset=utf-8"`),
		typ("typ-other-tree", "the type under text", `"text/$typ"`),
		typ("typ-application-twice", "application twice", `"application/application/$typ"`),
	}
}

// memberCases have a header member that should not be there.
func memberCases() []Case {
	const extra, source = "the issuer writes no other member", "RFC 8725, Section 3.10"
	const nested = "what is in it was never judged as a token of its own"
	return []Case{
		refuse("member-unknown", "a member nobody knows", extra, source, header(`{`, `{"note":"x",`)).ours(),
		refuse("member-empty-name", "a member without a name", extra, source, header(`{`, `{"":"x",`)).ours(),
		refuse("member-claims", "claims in the header", extra, "RFC 7519, Section 5.3",
			header(`{`, `{"iss":"$iss","exp":$exp,`)).ours(),
		refuse("member-cty", "cty JWT over claims", extra, "RFC 7519, Section 5.2",
			header(`{`, `{"cty":"JWT",`)).ours(),
		refuse("member-enc", "the header of an encrypted token", extra, "RFC 7516, Section 4.1.2",
			header(`{`, `{"enc":"A256GCM",`)).ours(),
		refuse("nested-jwt", "a token inside a token", nested, "RFC 7519, Section 5.2", func(f *forge) string {
			return f.sign(f.expand(rewrite(goodHeader, []string{`{`, `{"cty":"JWT",`})), header()(f), byKey)
		}),
		refuse("nested-unsigned", "an unsigned token inside a signed one", nested, "RFC 8725, Section 3.3",
			func(f *forge) string {
				return f.sign(f.expand(rewrite(goodHeader, []string{`{`, `{"cty":"JWT",`})),
					forged(byNobody, `$alg`, `none`)(f), byKey)
			}),
	}
}
