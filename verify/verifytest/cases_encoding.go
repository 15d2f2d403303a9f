package verifytest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/customersession/customersession/keys/jwk"
)

// serializationCases are JOSE objects that are not a compact JWS.
func serializationCases() []Case {
	const only, source = "a JWT has the compact form only", "RFC 7519, Section 3"
	const encrypted = "a token that anybody could encrypt says nothing about who wrote it"
	return []Case{
		refuse("json-flattened", "flattened JSON serialization", only, source, spelled(func(h, c, s string) string {
			return `{"protected":"` + h + `","payload":"` + c + `","signature":"` + s + `"}`
		})),
		refuse("json-general", "general JSON serialization", only, source, spelled(func(h, c, s string) string {
			return `{"payload":"` + c + `","signatures":[{"protected":"` + h + `","signature":"` + s + `"}]}`
		})),
		refuse("json-two-signatures", "JSON serialization with a bad signature beside the good one", only, source,
			spelled(func(h, c, s string) string {
				bad := `{"protected":"` + h + `","signature":"` + strings.Repeat("A", len(s)) + `"}`
				return `{"payload":"` + c + `","signatures":[` + bad +
					`,{"protected":"` + h + `","signature":"` + s + `"}]}`
			})),
		refuse("json-unprotected", "JSON serialization with the header unprotected", only, source,
			func(f *forge) string {
				h, c := f.expand(goodHeader), encode(f.expand(goodClaims))
				return `{"header":` + h + `,"payload":"` + c + `","signature":"` + encode(f.key.sign("."+c)) + `"}`
			}),
		refuse("json-polyglot", "a token that is compact to one parser and JSON to another",
			"the signature of one text is taken for another's", "CVE-2022-39227", func(f *forge) string {
				evil := encode(f.expand(rewrite(goodClaims, []string{`$sub`, `00000000-0000-4000-8000-000000000000`})))
				h, c := encode(f.expand(goodHeader)), encode(f.expand(goodClaims))
				s := encode(f.key.sign(h + "." + c))
				return `{"` + h + "." + evil + `.":"","protected":"` + h + `","payload":"` + c +
					`","signature":"` + s + `"}`
			}),
		refuse("jwe-direct", "an encrypted token, direct", encrypted,
			"Tervoort, Three New Attacks Against JSON Web Tokens, Black Hat 2023",
			spelled(func(_, c, s string) string {
				return encode(`{"alg":"dir","enc":"A256GCM"}`) + ".." + encode("initial-iv12") + "." + c + "." + s[:22]
			})),
		refuse("jwe-claims", "claims encrypted to the issuer's public key", encrypted,
			"CVE-2023-51774; Tervoort, Three New Attacks Against JSON Web Tokens, Black Hat 2023",
			func(f *forge) string { return f.encrypt(f.expand(goodClaims), "") }).on(jwk.RS256),
		refuse("jwe-unsigned", "an unsigned token encrypted to the issuer's public key", encrypted, "CVE-2026-29000",
			func(f *forge) string {
				return f.encrypt(forged(byNobody, `$alg`, `none`)(f), `,"cty":"JWT"`)
			}).on(jwk.RS256),
		refuse("jwe-pbes2", "an encrypted token that asks for two thousand million rounds",
			"a token makes the verifier work for minutes", "CVE-2023-51774; CVE-2023-52428",
			spelled(func(_, c, s string) string {
				return encode(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":"c2FsdA","p2c":2147483647}`) +
					"." + s[:32] + "." + encode("initial-iv12") + "." + c + "." + s[:22]
			})),
		refuse("detached", "a detached payload", "it has no claims", "RFC 7515, Appendix F",
			spelled(func(h, _, s string) string { return h + ".." + s })),
		refuse("sd-jwt", "a token in the form of an SD-JWT", only, "RFC 9901, Section 4",
			spelled(func(h, c, s string) string { return h + "." + c + "." + s + "~" })),
	}
}

// compactCases are texts that are not three segments.
func compactCases() []Case {
	const why, source = "it is not three segments", "RFC 7515, Section 7.1"
	text := func(id, title, token string) Case {
		return refuse(id, title, why, source, func(*forge) string { return token })
	}
	form := func(id, title string, write func(h, c, s string) string) Case {
		return refuse(id, title, why, source, spelled(write))
	}
	return []Case{
		text("empty", "an empty text", ""),
		text("dots", "two dots", ".."),
		text("one-dot", "one dot", "."),
		refuse("thousand-dots", "a thousand dots", "splitting it takes memory", "CVE-2025-30204",
			func(*forge) string { return strings.Repeat(".", 1000) }),
		text("word", "a word", "undefined"),
		form("one-segment", "the header alone", func(h, _, _ string) string { return h }),
		form("two-segments", "no signature segment", func(h, c, _ string) string { return h + "." + c }),
		form("four-segments", "a fourth segment", func(h, c, s string) string { return h + "." + c + "." + s + "." + s }),
		form("leading-dot", "a dot in front", func(h, c, s string) string { return "." + h + "." + c + "." + s }),
		form("trailing-dot", "a dot at the end", func(h, c, s string) string { return h + "." + c + "." + s + "." }),
		form("empty-signature", "an empty signature", func(h, c, _ string) string { return h + "." + c + "." }),
		form("empty-header", "an empty header", func(_, c, s string) string { return "." + c + "." + s }),
		form("swapped-segments", "claims before the header", func(h, c, s string) string { return c + "." + h + "." + s }),
		form("twice", "two tokens, comma between", func(h, c, s string) string {
			return h + "." + c + "." + s + "," + h + "." + c + "." + s
		}),
		form("quoted", "a token in quotes", func(h, c, s string) string { return `"` + h + "." + c + "." + s + `"` }),
		form("bearer-inside", "the scheme inside the token", func(h, c, s string) string {
			return "Bearer " + h + "." + c + "." + s
		}),
		refuse("too-long", "a token of 4097 bytes", "no session's token is that long", "RFC 9110, Section 5.4",
			padded(4097)).ours(),
	}
}

// base64Cases spell a good token differently.
func base64Cases() []Case {
	const why, source = "one token has more than one spelling", "RFC 7515, Section 2; RFC 4648, Section 3.3"
	form := func(id, title string, write func(h, c, s string) string) Case {
		return refuse(id, title, why, source, spelled(write))
	}
	middle := func(insert string) func(h, c, s string) string {
		return func(h, c, s string) string { return h + "." + c + "." + s[:8] + insert + s[8:] }
	}
	// The signature covers these spellings, so nothing else is wrong.
	encoding := func(e *base64.Encoding) builder {
		return segments(func(h, c string) (string, string) {
			// Four tildes encode to a character 62 at any alignment.
			h, c = unaligned(h), unaligned(`{"?":"~~~~",`+c[1:])
			return e.EncodeToString([]byte(h)), e.EncodeToString([]byte(c))
		})
	}
	return []Case{
		form("padding-signature", "padding after the signature", func(h, c, s string) string {
			return h + "." + c + "." + s + strings.Repeat("=", -len(s)&3)
		}),
		form("padding-too-much", "four padding characters", func(h, c, s string) string { return h + "." + c + "." + s + "====" }),
		refuse("padding-signed", "segments with padding", why, source, encoding(base64.URLEncoding)),
		refuse("standard-alphabet", "segments in the alphabet with + and /", why, source,
			encoding(base64.RawStdEncoding)),
		form("line-break", "a line break inside the signature", middle("\n")),
		form("carriage-return", "CRLF inside the signature", middle("\r\n")),
		form("space", "a space inside the signature", middle(" ")),
		form("tab", "a tab inside the signature", middle("\t")),
		form("nul", "a NUL inside the signature", middle("\x00")),
		form("nul-at-end", "a NUL and more at the end", func(h, c, s string) string { return h + "." + c + "." + s + "\x00.x" }),
		form("line-break-at-end", "a line break at the end", func(h, c, s string) string { return h + "." + c + "." + s + "\n" }),
		form("not-ascii", "a letter beyond ASCII", middle("é")),
		form("zero-width-space", "a zero-width space", middle("\u200b")),
		form("byte-order-mark", "a byte order mark in front", func(h, c, s string) string { return "\ufeff" + h + "." + c + "." + s }),
		form("ideographic-full-stop", "an ideographic full stop for a dot", func(h, c, s string) string { return h + "。" + c + "." + s }),
		form("percent-dot", "a percent-encoded dot", func(h, c, s string) string { return h + "%2E" + c + "." + s }),
		form("percent-letter", "a percent-encoded letter", func(h, c, s string) string { return "%65" + h[1:] + "." + c + "." + s }),
		form("plus-in-signature", "a character more that is not in the alphabet", middle("+")),
		form("impossible-length", "a length that no octets have", func(h, c, s string) string {
			return h + "." + c + "." + s + strings.Repeat("A", 1+(4-len(s)&3)&3)
		}),
		form("encoded-twice", "the signature encoded twice", func(h, c, s string) string { return h + "." + c + "." + encode(s) }),
		refuse("unused-bits-signature", "unused bits of the signature's last character set", why,
			"RFC 4648, Section 3.5", spelled(func(h, c, s string) string {
				return h + "." + c + "." + withUnusedBits(s)
			})).ours(),
		refuse("unused-bits-claims", "unused bits of the payload's last character set", why,
			"RFC 4648, Section 3.5", segments(func(h, c string) (string, string) {
				return encode(h), withUnusedBits(encode(unaligned(c)))
			})).ours(),
	}
}

// withUnusedBits sets the lowest bit of the last character. The bit belongs to
// no octet unless the length is a multiple of four.
func withUnusedBits(segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(segment) - 1
	value := strings.IndexByte(alphabet, segment[last])
	return segment[:last] + string(alphabet[value|1])
}

// unaligned pads a JSON text to end within a group of three octets, where
// base64 has padding and unused bits.
func unaligned(text string) string {
	if len(text)%3 == 0 {
		text += " "
	}
	return text
}

// encrypt makes a JWE (RFC 7516, Section 3.1) for the RSA key. It needs no
// secret.
func (f *forge) encrypt(text, members string) string {
	header := encode(f.expand(`{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"$kid"` + members + `}`))
	contentKey, nonce := make([]byte, 32), make([]byte, 12)
	rand.Read(contentKey)
	rand.Read(nonce)
	public := f.key.key.Public().(*rsa.PublicKey) //nolint:forcetypeassert // the case is for RS256
	wrapped := must(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, contentKey, nil))
	sealed := must(cipher.NewGCM(must(aes.NewCipher(contentKey)))).Seal(nil, nonce, []byte(text), []byte(header))
	ciphertext, tag := sealed[:len(text)], sealed[len(text):]
	return header + "." + encode(wrapped) + "." + encode(nonce) + "." + encode(ciphertext) + "." + encode(tag)
}
