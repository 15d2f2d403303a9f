package verifytest

import (
	"fmt"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
)

// goodCases are tokens that a verifier must accept.
func goodCases() []Case {
	return []Case{
		accept("good", "a good token",
			"it is what the issuer writes", "RFC 7519, Section 7.2", header()),
		accept("good-es256", "a good token with ES256",
			"the key is published", "RFC 7518, Section 3.4", header()).on(jwk.ES256),
		accept("good-eddsa", "a good token with EdDSA",
			"the key is published", "RFC 8037, Section 3.1", header()).on(jwk.EdDSA),
		accept("good-rs256", "a good token with RS256",
			"the key is published", "RFC 7518, Section 3.3", header()).on(jwk.RS256),
		accept("good-header-order", "header members in another order",
			"members have no order", "RFC 8259, Section 4",
			headerText(`{"typ":"$typ","kid":"$kid","alg":"$alg"}`)),
		accept("good-header-space", "white space in the header",
			"JSON allows it", "RFC 8259, Section 2",
			headerText("\t{ \"typ\" : \"$typ\",\r\n\"kid\" :\"$kid\", \"alg\":\t\"$alg\" }\n")),
		accept("good-header-escape", "an escape in the header",
			"an escaped character is that character", "RFC 8259, Section 7",
			header(`"alg"`, `"\u0061lg"`)),
		accept("good-typ-application", "typ with its application/ prefix",
			"both ways to write a media type mean the same", "RFC 7515, Section 4.1.9",
			header(`$typ`, `application/$typ`)).ours(),
		accept("good-typ-case", "typ in capitals",
			"media types compare without case", "RFC 2045, Section 5.1",
			header(`$typ`, `Customer-Session+JWT`)).ours(),
	}
}

func goodClaimsCases() []Case {
	const unknown = "claims that are not understood must be ignored"
	return []Case{
		accept("good-claims-space", "white space between claims",
			"JSON allows it", "RFC 8259, Section 2", claims(`{`, "{ \r\n\t", `}`, "\n} \n")),
		accept("good-claims-escape", "escapes in a claim's name and value",
			"an escaped character is that character", "RFC 8259, Section 7",
			claims(`"iss":`, `"\u0069\u0073s":`)),
		accept("good-unknown-claim", "a claim nobody knows",
			unknown, "RFC 7519, Section 4", claims(`{`, `{"name":{"a":[1,-2.5e3,null,true,"x"]},`)),
		accept("good-unicode-claim", "text beyond the basic plane in an unknown claim",
			unknown, "RFC 8259, Section 8.2", claims(`{`, `{"note":"Zoë 😀 \ud83d\ude00",`)),
		accept("good-big-number-claim", "a number beyond 64 bits in an unknown claim",
			unknown, "RFC 7519, Section 4", claims(`{`, `{"serial":123456789012345678901234567890,`)),
		accept("good-audience-list", "the audience among others",
			"a list is one of the two ways to write it", "RFC 7519, Section 4.1.3",
			claims(`"$aud"`, `["other","$aud"]`)),
		accept("good-audience-list-of-one", "the audience in a list of one",
			"a list is one of the two ways to write it", "RFC 7519, Section 4.1.3",
			claims(`"$aud"`, `["$aud"]`)),
		accept("good-audience-sixteen", "sixteen audiences",
			"that many are allowed", "RFC 7519, Section 4.1.3",
			claims(`"$aud"`, `["$aud"`+strings.Repeat(`,"x"`, 15)+`]`)),
		accept("good-not-before-now", "nbf now",
			"the time has come", "RFC 7519, Section 4.1.5", claims(`{`, `{"nbf":$now,`)),
		accept("good-clock-behind", "issued 10 seconds ahead",
			"clocks may be apart by the leeway", "RFC 7519, Section 4.1.5",
			claims(`"iat":$iat`, `"iat":${now+10},"nbf":${now+10}`)),
		accept("good-just-expired", "expired 10 seconds ago",
			"clocks may be apart by the leeway", "RFC 7519, Section 4.1.4",
			claims(`$iat`, `${now-60}`, `$exp`, `${now-10}`)).ours(),
		accept("good-long-session", "a session of a day",
			"that long is allowed", "RFC 7519, Section 4.1.4", claims(`$exp`, `${now+86400}`)),
		accept("good-minimal", "no optional claim",
			"it lacks nothing that is required", "RFC 7519, Section 4",
			claims(`,"return_url":"$url","scope":"$scope"`, ``)),
		accept("good-member", "the session of a member of a team",
			"it is what the issuer writes", "RFC 7519, Section 4.3",
			claims(`{`, `{"member_id":"7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07","role":"billing_manager",`)),
		accept("good-4096-bytes", "a token of 4096 bytes",
			"that long is allowed", "RFC 9110, Section 5.4", padded(4096)).ours(),
		accept("good-64-members", "64 members in all",
			"that many are allowed", "RFC 8259, Section 9",
			claims(`{`, `{`+numbered(64-9))).ours(),
		accept("good-depth", "eight levels",
			"that deep is allowed", "RFC 8259, Section 9",
			claims(`{`, `{"x":[[[[[[[]]]]]]],`)).ours(),
	}
}

// numbered returns n members with distinct names.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"x%d":1,`, i)
	}
	return b.String()
}

// padded makes a good token of the given length, or one byte longer if base64
// has no text of that length.
func padded(length int) builder {
	return func(f *forge) string {
		write := func(padding int) string {
			text := strings.Replace(goodClaims, `{`, `{"padding":"`+strings.Repeat("a", padding)+`",`, 1)
			return f.sign(f.expand(goodHeader), f.expand(text), byKey)
		}
		padding := (length - len(write(0))) * 3 / 4
		for ; ; padding++ {
			if token := write(padding); len(token) >= length {
				return token
			}
		}
	}
}
