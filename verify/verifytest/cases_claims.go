package verifytest

import "strings"

// issuerCases are tokens whose iss is not exactly the issuer.
func issuerCases() []Case {
	const why, source = "the issuer is another one", "RFC 7519, Section 4.1.1; RFC 8725, Section 3.8"
	const partly, partlySource = "issuers compare as a whole", "CVE-2024-53861"
	iss := func(id, title, value string) Case {
		return refuse(id, title, why, source, claims(`"$iss"`, value))
	}
	return []Case{
		refuse("iss-missing", "no iss", why, source, claims(`"iss":"$iss",`, ``)),
		iss("iss-null", "iss null", `null`),
		iss("iss-number", "iss a number", `1`),
		iss("iss-object", "iss an object", `{"$iss":1}`),
		iss("iss-empty", "an empty iss", `""`),
		iss("iss-other", "another issuer", `"https://evil.example"`),
		refuse("iss-list", "iss a list with the issuer in it", "iss is one issuer", "CVE-2025-30144",
			claims(`"$iss"`, `["https://evil.example","$iss"]`)),
		refuse("iss-first-letters", "the first letters of the issuer", partly, partlySource, claims(`"$iss"`, `"http"`)),
		iss("iss-suffix", "the issuer as a part of another host", `"$iss.evil.example"`),
		iss("iss-user", "the issuer as the user of another host", `"$iss@evil.example"`),
		iss("iss-slash", "the issuer with a slash", `"$iss/"`),
		iss("iss-path", "the issuer with a path", `"$iss/tenant"`),
		iss("iss-query", "the issuer with a query", `"$iss?x"`),
		iss("iss-fragment", "the issuer with a fragment", `"$iss#x"`),
		iss("iss-space-before", "a space before the issuer", `" $iss"`),
		iss("iss-space-after", "a space after the issuer", `"$iss "`),
		iss("iss-nul", "a NUL and more after the issuer", `"$iss\u0000.evil.example"`),
		iss("iss-line-break", "a line break after the issuer", `"$iss\n"`),
		refuse("iss-capitals", "the issuer in capitals", "issuers compare exactly", source, func(f *forge) string {
			return claims(`$iss`, strings.ToUpper(f.issuer.url))(f)
		}),
		refuse("iss-homograph", "the issuer with a Cyrillic letter", why, source, func(f *forge) string {
			return claims(`$iss`, strings.Replace(f.issuer.url, "t", "т", 1))(f)
		}),
	}
}

// audienceCases are tokens for another audience.
func audienceCases() []Case {
	const why, source = "the token is for somebody else", "RFC 7519, Section 4.1.3; RFC 8725, Section 3.9"
	const unsure = "a list of audiences holds strings and nothing else"
	aud := func(id, title, value string) Case {
		return refuse(id, title, why, source, claims(`"$aud"`, value))
	}
	return []Case{
		refuse("aud-missing", "no aud", why, source, claims(`"aud":"$aud",`, ``)),
		aud("aud-null", "aud null", `null`),
		aud("aud-number", "aud a number", `0`),
		aud("aud-true", "aud true", `true`),
		aud("aud-object", "aud an object", `{"$aud":true}`),
		aud("aud-empty", "an empty aud", `""`),
		refuse("aud-empty-list", "an empty list of audiences", why, source+"; CVE-2020-26160", claims(`"$aud"`, `[]`)),
		aud("aud-list-of-empty", "a list of an empty audience", `[""]`),
		aud("aud-other", "another audience", `"other"`),
		aud("aud-others", "a list of others", `["other","another"]`),
		aud("aud-prefix", "more than the audience", `"$aud-admin"`),
		aud("aud-suffix", "the audience at the end of another", `"not-$aud"`),
		aud("aud-spaces", "the audience in a text of several", `"other $aud"`),
		aud("aud-commas", "the audience in a text with commas", `"other,$aud"`),
		aud("aud-space-after", "a space after the audience", `"$aud "`),
		aud("aud-wildcard", "a wildcard", `"*"`),
		aud("aud-pattern", "a pattern", `".*"`),
		aud("aud-nested", "the audience in a list of lists", `[["$aud"]]`),
		aud("aud-json", "a list in a string", `"[\"$aud\"]"`),
		refuse("aud-capitals", "the audience in capitals", "audiences compare exactly", source, func(f *forge) string {
			return claims(`$aud`, strings.ToUpper(f.issuer.audience))(f)
		}),
		refuse("aud-first-letters", "the first letters of the audience", why, source, func(f *forge) string {
			return claims(`$aud`, f.issuer.audience[:1])(f)
		}),
		refuse("aud-list-with-number", "the audience beside a number", unsure, source,
			claims(`"$aud"`, `["$aud",1]`)).ours(),
		refuse("aud-list-with-null", "the audience beside null", unsure, source,
			claims(`"$aud"`, `["$aud",null]`)).ours(),
		refuse("aud-seventeen", "seventeen audiences", "nobody issues such a token", source,
			claims(`"$aud"`, `["$aud"`+strings.Repeat(`,"x"`, 16)+`]`)).ours(),
	}
}

// identityCases have IDs that are not UUIDs in canonical form.
func identityCases() []Case {
	const why, source = "it names nobody, or somebody in two ways", "RFC 9562, Section 4"
	var cases []Case
	for _, id := range []struct{ name, what string }{
		{"sub", "customer ID"}, {"sid", "session ID"}, {"org", "organization ID"},
	} {
		bad := func(suffix, title, value string) {
			cases = append(cases, refuse(id.name+"-"+suffix, title, why, source,
				claims(`"$`+id.name+`"`, value)).ours())
		}
		cases = append(cases, refuse(id.name+"-missing", "no "+id.what, why, source,
			claims(`"`+id.name+`":"$`+id.name+`",`, ``)).ours())
		bad("null", "a null "+id.what, `null`)
		bad("number", "a number for "+id.what, `1`)
		bad("list", "a list for "+id.what, `["$`+id.name+`"]`)
		bad("empty", "an empty "+id.what, `""`)
		bad("not-uuid", "a name for "+id.what, `"admin"`)
		bad("capitals", id.what+" in capitals", `"992FAE2A-2A17-4B7A-8D9E-E287CF90131B"`)
		bad("braces", id.what+" in braces", `"{$`+id.name+`}"`)
		bad("urn", id.what+" as a URN", `"urn:uuid:$`+id.name+`"`)
		bad("no-dashes", id.what+" without dashes", `"992fae2a2a174b7a8d9ee287cf90131b"`)
		bad("space", id.what+" and a space", `"$`+id.name+` "`)
		bad("nul", id.what+" and a NUL", `"$`+id.name+`\u0000"`)
	}
	return cases
}

// stringCases test the other strings.
func stringCases() []Case {
	const why, source = "it is not what the issuer writes", "RFC 8725, Section 3.10"
	const header = "whoever writes it into a header or a page lets others write there"
	return []Case{
		refuse("url-control", "a NUL in return_url", header, source, claims(`$url`, `https://shop.example.com/\u0000`)).ours(),
		refuse("url-line-break", "a line break in return_url", header, "CWE-113",
			claims(`$url`, `https://shop.example.com/\r\nSet-Cookie: a=b`)).ours(),
		refuse("url-c1-control", "a C1 control character in return_url", header, source,
			claims(`$url`, "https://shop.example.com/\u0085")).ours(),
		refuse("url-long", "return_url of 2084 bytes", why, source,
			claims(`$url`, `https://shop.example.com/`+strings.Repeat("a", 2084-25))).ours(),
		refuse("url-number", "return_url a number", why, source, claims(`"$url"`, `1`)).ours(),
		refuse("url-empty", "an empty return_url", why, source, claims(`$url`, ``)).ours(),
		refuse("scope-list", "scope a list", why, "RFC 8693, Section 4.2", claims(`"$scope"`, `["$scope"]`)).ours(),
		refuse("scope-null", "scope null", why, "RFC 8693, Section 4.2", claims(`"$scope"`, `null`)).ours(),
		refuse("scope-long", "scope of 256 bytes", why, source, claims(`$scope`, strings.Repeat("a", 256))).ours(),
		refuse("scope-control", "a tab in scope", why, "RFC 6749, Section 3.3", claims(`$scope`, `$scope\tadmin`)).ours(),
	}
}

// teamCases are sessions of a member that are not whole.
func teamCases() []Case {
	const half, why, source = "a service that reads one of the two takes the member for somebody else", "it names no member, or one in two ways", "RFC 8725, Section 3.10"
	const member = `"member_id":"7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07"`
	team := func(id, title, why, added string) Case {
		return refuse(id, title, why, source, claims(`{`, `{`+added+`,`)).ours()
	}
	return []Case{
		team("member-without-role", "a member without a role", half, member),
		team("role-without-member", "a role without a member", half, `"role":"owner"`),
		team("member-null", "a null member ID", why, `"member_id":null,"role":"owner"`),
		team("member-number", "a number for member ID", why, `"member_id":1,"role":"owner"`),
		team("member-empty", "an empty member ID", why, `"member_id":"","role":"owner"`),
		team("member-not-uuid", "a name for member ID", why, `"member_id":"admin","role":"owner"`),
		team("member-capitals", "member ID in capitals", why, `"member_id":"7B8A1F52-6C0E-4D5B-8F3A-2E9D4C6B1A07","role":"owner"`),
		team("role-null", "a null role", why, member+`,"role":null`),
		team("role-empty", "an empty role", why, member+`,"role":""`),
		team("role-list", "a list of roles", why, member+`,"role":["owner"]`),
		team("role-control", "a line break in the role", why, member+`,"role":"member\r\nX-Member-Role: owner"`),
		team("role-long", "a role of 256 bytes", why, member+`,"role":"`+strings.Repeat("a", 256)+`"`),
		team("twice-role", "two roles", "readers disagree on which counts", member+`,"role":"member","role":"owner"`),
		team("fold-role", "a role, and one in capitals", "a reader that ignores case takes the other", member+`,"role":"member","ROLE":"owner"`),
	}
}
