package verifytest

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// jsonCases have a payload that is not a claims set as RFC 7519 defines it.
func jsonCases() []Case {
	const why, source = "it is not a JSON object", "RFC 7519, Section 7.2"
	payload := func(id, title, text string) Case { return refuse(id, title, why, source, claimsText(text)) }
	return []Case{
		payload("claims-word", "claims that are a word", `claims`),
		payload("claims-null", "claims that are null", `null`),
		payload("claims-true", "claims that are true", `true`),
		payload("claims-number", "claims that are a number", `1`),
		payload("claims-string", "claims that are a string", `"claims"`),
		payload("claims-list", "claims that are a list", `[]`),
		payload("claims-in-list", "claims in a list", `[`+goodClaims+`]`),
		payload("claims-empty-object", "no claims at all", `{}`),
		payload("claims-quoted", "claims in a string", `"{\"sub\":\"$sub\"}"`),
		payload("claims-truncated", "claims without their end", strings.TrimSuffix(goodClaims, `}`)),
		payload("claims-two-objects", "an object after the claims", goodClaims+`{}`),
		payload("claims-trailing-text", "text after the claims", goodClaims+`x`),
		payload("claims-trailing-nul", "a NUL after the claims", goodClaims+"\x00"),
		payload("claims-trailing-comma", "a comma after the last claim", rewrite(goodClaims, []string{`}`, `,}`})),
		payload("claims-missing-comma", "no comma between claims", rewrite(goodClaims, []string{`,`, ` `})),
		payload("claims-comment", "a comment", rewrite(goodClaims, []string{`{`, `{/* comment */`})),
		payload("claims-line-comment", "a comment at the end of a line", rewrite(goodClaims, []string{`{`, "{//\n"})),
		payload("claims-single-quotes", "single quotes", strings.ReplaceAll(goodClaims, `"`, `'`)),
		payload("claims-bare-names", "names without quotes", rewrite(goodClaims, []string{`"iss"`, `iss`})),
		payload("claims-not-a-number", "NaN", rewrite(goodClaims, []string{`{`, `{"x":NaN,`})),
		payload("claims-hexadecimal", "a hexadecimal number", rewrite(goodClaims, []string{`{`, `{"x":0x10,`})),
		payload("claims-leading-zero", "a date with a leading zero", rewrite(goodClaims, []string{`$exp`, `0$exp`})),
		payload("claims-plus", "a date with a plus", rewrite(goodClaims, []string{`$exp`, `+$exp`})),
		payload("claims-capital-literal", "True", rewrite(goodClaims, []string{`{`, `{"x":True,`})),
		payload("claims-xml", "claims in XML", `<claims><sub>$sub</sub></claims>`),
		payload("claims-form", "claims as a form", `sub=$sub&exp=$exp`),
		refuse("header-truncated", "a header without its end", "it is not a JSON object", "RFC 7515, Section 5.2",
			headerText(strings.TrimSuffix(goodHeader, `}`))),
		refuse("header-trailing-text", "text after the header", "it is not a JSON object", "RFC 7515, Section 5.2",
			headerText(goodHeader+`x`)),
		refuse("header-list", "a header in a list", "it is not a JSON object", "RFC 7515, Section 5.2",
			headerText(`[`+goodHeader+`]`)),
		refuse("header-trailing-comma", "a comma after the last member", "it is not JSON", "RFC 7515, Section 5.2",
			header(`}`, `,}`)),
	}
}

// textCases test characters and escapes.
func textCases() []Case {
	const why, source = "it is not JSON in UTF-8", "RFC 7519, Section 7.2; RFC 8259, Section 8.1"
	const lone, twoWays = "readers take it for different texts", "RFC 7493, Section 2.1"
	const cost, limits = "reading it costs more than it is worth", "RFC 8259, Section 9; CVE-2020-36518"
	return []Case{
		refuse("utf8-invalid", "an octet that is not UTF-8", why, source, claims(`{`, "{\"x\":\"\xff\",")),
		refuse("utf8-invalid-name", "an octet in a name that is not UTF-8", why, source, claims(`{`, "{\"\xff\":1,")),
		refuse("utf8-invalid-issuer", "an octet in iss that is not UTF-8", why, source, claims(`$iss`, "$iss\xff")),
		refuse("utf8-overlong", "an overlong slash", why, source, claims(`{`, "{\"x\":\"\xc0\xaf\",")),
		refuse("utf8-surrogate", "a surrogate in UTF-8", why, source, claims(`{`, "{\"x\":\"\xed\xa0\x80\",")),
		refuse("utf8-invalid-header", "an octet in the header that is not UTF-8", why, source,
			header(`{`, "{\"x\":\"\xff\",")),
		refuse("utf16", "claims in UTF-16", why, "RFC 8725, Section 3.7",
			func(f *forge) string {
				var text []byte
				for _, unit := range utf16.Encode([]rune(f.expand(goodClaims))) {
					text = binary.BigEndian.AppendUint16(text, unit)
				}
				return f.sign(f.expand(goodHeader), string(text), byKey)
			}),
		refuse("control-character", "a line break inside a string", why, "RFC 8259, Section 7",
			claims(`{`, "{\"x\":\"\n\",")),
		refuse("bad-escape", "an escape that there is not", why, "RFC 8259, Section 7", claims(`{`, `{"x":"\x41",`)),
		refuse("short-escape", "an escape of three digits", why, "RFC 8259, Section 7", claims(`{`, `{"x":"\u041",`)),
		refuse("white-space-other", "a no-break space between claims", why, "RFC 8259, Section 2",
			claims(`{`, "{\u00a0")),
		refuse("byte-order-mark-claims", "a byte order mark before the claims", lone, "RFC 8259, Section 8.1",
			claims(`{`, "\ufeff{")).ours(),
		refuse("byte-order-mark-header", "a byte order mark before the header", lone, "RFC 8259, Section 8.1",
			header(`{`, "\ufeff{")).ours(),
		refuse("lone-surrogate", "half of a surrogate pair", lone, twoWays, claims(`{`, `{"x":"\ud800",`)).ours(),
		refuse("lone-surrogate-name", "half of a surrogate pair in a name", lone, twoWays,
			claims(`{`, `{"\udfff":1,`)).ours(),
		refuse("surrogates-swapped", "a surrogate pair the wrong way round", lone, twoWays,
			claims(`{`, `{"x":"\udc00\ud800",`)).ours(),
		refuse("depth-nine", "nine levels", cost, limits, claims(`{`, `{"x":[[[[[[[[]]]]]]]],`)).ours(),
		refuse("depth-bomb", "a thousand levels", cost, limits,
			claims(`{`, `{"x":`+strings.Repeat(`[`, 1000)+strings.Repeat(`]`, 1000)+`,`)).ours(),
		refuse("depth-unclosed", "a thousand levels that are never closed", "it is not JSON", limits,
			claims(`{`, `{"x":`+strings.Repeat(`{"":`, 500)+`,`)),
		refuse("members-65", "65 members", cost, limits, claims(`{`, `{`+numbered(65-9))).ours(),
	}
}

// duplicateCases have a name twice. RFC 7515, Section 4 lets a parser refuse
// the text or use the last member. If the last one is bad, every parser refuses.
func duplicateCases() []Case {
	const why = "two readers take the token for two different ones"
	const header4, claims4 = "RFC 7515, Section 4; RFC 8725, Section 2.6", "RFC 7519, Section 4; RFC 8725, Section 2.6"
	return []Case{
		refuse("twice-alg-none-last", "alg twice, none last", why, header4,
			forged(byNobody, `"kid"`, `"alg":"none","kid"`)),
		refuse("twice-alg-none-first", "alg twice, none first", why, header4, header(`{`, `{"alg":"none",`)).ours(),
		refuse("twice-alg-same", "alg twice, the same", why, header4, header(`{`, `{"alg":"$alg",`)).ours(),
		refuse("twice-alg-escaped", "alg twice, once escaped", why, header4,
			header(`{`, `{"\u0061lg":"none",`)).ours(),
		refuse("twice-kid-last", "kid twice, an unknown one last", why, header4,
			forged(byAttacker, `,"typ"`, `,"kid":"$attacker_kid","typ"`)),
		refuse("twice-kid-first", "kid twice, an unknown one first", why, header4, header(`{`, `{"kid":"x",`)).ours(),
		refuse("twice-typ", "typ twice", why, header4, header(`{`, `{"typ":"JWT",`)).ours(),
		refuse("twice-exp-past-last", "exp twice, the past last", why, claims4,
			claims(`"exp":$exp`, `"exp":$exp,"exp":${now-1000}`)),
		refuse("twice-exp-past-first", "exp twice, the past first", why, claims4,
			claims(`"exp":$exp`, `"exp":${now-1000},"exp":$exp`)).ours(),
		refuse("twice-aud-other-last", "aud twice, another's last", why, claims4,
			claims(`"aud":"$aud"`, `"aud":"$aud","aud":"other"`)),
		refuse("twice-aud-other-first", "aud twice, another's first", why, claims4, claims(`{`, `{"aud":"other",`)).ours(),
		refuse("twice-iss-other-last", "iss twice, another last", why, claims4,
			claims(`"iss":"$iss"`, `"iss":"$iss","iss":"https://evil.example"`)),
		refuse("twice-sub", "sub twice", why, claims4,
			claims(`{`, `{"sub":"00000000-0000-4000-8000-000000000000",`)).ours(),
		refuse("twice-sub-escaped", "sub twice, once escaped", why, claims4,
			claims(`{`, `{"\u0073ub":"00000000-0000-4000-8000-000000000000",`)).ours(),
		refuse("twice-unknown", "an unknown claim twice", why, claims4, claims(`{`, `{"x":1,"x":2,`)).ours(),
		refuse("twice-nested", "a name twice inside a claim", why, claims4,
			claims(`{`, `{"x":{"a":1,"a":2},`)).ours(),
	}
}

// foldingCases have names that match known ones only if case is ignored.
func foldingCases() []Case {
	const why, source = "names compare exactly, without folding", "RFC 7519, Section 7.3; RFC 8259, Section 8.3"
	const two = "a careless reader takes it for another session"
	return []Case{
		refuse("fold-exp", "EXP instead of exp", why, source, claims(`"exp"`, `"EXP"`)),
		refuse("fold-aud", "AUD instead of aud", why, source, claims(`"aud"`, `"AUD"`)),
		refuse("fold-iss", "Iss instead of iss", why, source, claims(`"iss"`, `"Iss"`)),
		refuse("fold-iss-long-s", "iſs instead of iss", why, source, claims(`"iss"`, `"iſs"`)),
		refuse("fold-exp-over-past", "EXP in the future beside exp in the past", why, source,
			claims(`"exp":$exp`, `"exp":${now-1000},"EXP":$exp`)),
		refuse("fold-aud-over-other", "AUD ours beside aud another's", why, source,
			claims(`"aud":"$aud"`, `"aud":"other","AUD":"$aud"`)),
		refuse("fold-iss-over-other", "ISS ours beside iss another's", why, source,
			claims(`"iss":"$iss"`, `"iss":"https://evil.example","ISS":"$iss"`)),
		refuse("fold-sub", "SUB instead of sub", why, source, claims(`"sub"`, `"SUB"`)).ours(),
		refuse("fold-sub-beside", "SUB beside sub", two, source,
			claims(`{`, `{"SUB":"00000000-0000-4000-8000-000000000000",`)).ours(),
		refuse("fold-sub-long-s", "ſub beside sub", two, source,
			claims(`{`, `{"ſub":"00000000-0000-4000-8000-000000000000",`)).ours(),
		refuse("fold-scope-long-s", "ſcope beside scope", two, source, claims(`{`, `{"ſcope":"admin",`)).ours(),
		refuse("fold-typ", "TYP beside typ", two, source, header(`{`, `{"TYP":"JWT",`)).ours(),
		refuse("name-space", "a space in the name of exp", why, source, claims(`"exp"`, `"exp "`)),
		refuse("name-nul", "a NUL in the name of exp", why, source, claims(`"exp"`, `"exp\u0000"`)),
	}
}
