package verifytest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/wire"
)

// The good token, with the $placeholders of forge.value. Cases replace parts of
// it.
const (
	goodHeader = `{"alg":"$alg","kid":"$kid","typ":"$typ"}`
	goodClaims = `{"iss":"$iss","aud":"$aud","sub":"$sub","sid":"$sid","org":"$org","iat":$iat,"exp":$exp,` +
		`"return_url":"$url","scope":"$scope"}`
)

// A forge makes one token.
type forge struct {
	issuer *Issuer
	// key should sign the token; second is the next key that the case asked
	// for, or nil.
	key, second *signer
	// attacker is an untrusted key of the same kind.
	attacker *signer
	now      time.Time
}

func newForge(issuer *Issuer, algorithms []jwk.Algorithm) *forge {
	f := &forge{issuer: issuer, now: time.Now()}
	switch len(algorithms) {
	case 0:
		f.key = issuer.signerFor("")
	case 1:
		f.key = issuer.signerFor(algorithms[0])
	default:
		f.key, f.second = issuer.signerFor(algorithms[0]), issuer.signerFor(algorithms[1])
	}
	f.attacker = issuer.attacker(f.key.key.Algorithm())
	return f
}

// value returns the value of a placeholder. The placeholder now is a date, as is
// now with an offset in seconds, such as ${now-60}.
func (f *forge) value(name string) string {
	switch name {
	case "alg":
		return string(f.key.key.Algorithm())
	case "kid":
		return f.key.key.ID()
	case "typ":
		return wire.TokenType
	case "iss":
		return f.issuer.url
	case "aud":
		return f.issuer.audience
	case "sub":
		return CustomerID
	case "sid":
		return SessionID
	case "org":
		return OrganizationID
	case "url":
		return ReturnURL
	case "scope":
		return wire.Scope
	case "iat":
		return f.date("")
	case "exp":
		return f.date("+3600")
	}
	if offset, ok := strings.CutPrefix(name, "now"); ok {
		return f.date(offset)
	}
	return f.keyValue(name)
}

// keyValue returns the value of a placeholder for a key.
func (f *forge) keyValue(name string) string {
	switch name {
	case "jwk":
		return string(f.key.key.AppendJSON(nil))
	case "jku":
		return f.issuer.JWKSetURL()
	case "second_kid":
		return f.second.key.ID()
	case "attacker_kid":
		return f.attacker.key.ID()
	case "attacker_jwk":
		return string(f.attacker.key.AppendJSON(nil))
	case "attacker_jku":
		return f.issuer.base() + lurePath
	case "attacker_x5u":
		return f.issuer.base() + lureCertPath
	case "attacker_x5c":
		return base64.StdEncoding.EncodeToString(f.attacker.certificate())
	}
	panic("verifytest: nothing is called $" + name)
}

func (f *forge) date(offset string) string {
	var seconds int64
	if offset != "" {
		seconds = must(strconv.ParseInt(offset, 10, 64))
	}
	return strconv.FormatInt(f.now.Unix()+seconds, 10)
}

// expand fills in placeholders.
func (f *forge) expand(text string) string { return os.Expand(text, f.value) }

// rewrite replaces old by new, in pairs, in a text with placeholders.
func rewrite(text string, oldnew []string) string {
	for pair := range slices.Chunk(oldnew, 2) {
		if !strings.Contains(text, pair[0]) {
			panic("verifytest: nothing to replace: " + pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return text
}

// A signing returns the octets of the signature.
type signing func(f *forge, input string) []byte

func byKey(f *forge, input string) []byte { return f.key.sign(input) }

func byAttacker(f *forge, input string) []byte { return f.attacker.sign(input) }

func byNobody(*forge, string) []byte { return nil }

// sign makes a token from texts without placeholders.
func (f *forge) sign(header, claims string, by signing) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + encode(by(f, input))
}

// header makes a token whose header differs from the good one. The good key
// signs it, so the difference is the only reason to refuse it.
func header(oldnew ...string) builder { return forged(byKey, oldnew...) }

// forged is like header, but signed by the given function.
func forged(by signing, oldnew ...string) builder {
	text := rewrite(goodHeader, oldnew)
	return func(f *forge) string { return f.sign(f.expand(text), f.expand(goodClaims), by) }
}

// headerText makes a properly signed token with the given header.
func headerText(text string) builder {
	return func(f *forge) string { return f.sign(f.expand(text), f.expand(goodClaims), byKey) }
}

// claims makes a properly signed token whose claims differ from the good ones.
func claims(oldnew ...string) builder {
	return claimsText(rewrite(goodClaims, oldnew))
}

// claimsText makes a properly signed token with the given payload.
func claimsText(text string) builder {
	return func(f *forge) string { return f.sign(f.expand(goodHeader), f.expand(text), byKey) }
}

// signed makes a token with good header and claims, signed by the given function.
func signed(by signing) builder { return forged(by) }

// spelled makes the good token, written differently.
func spelled(write func(header, claims, signature string) string) builder {
	return func(f *forge) string {
		h, c := encode(f.expand(goodHeader)), encode(f.expand(goodClaims))
		return write(h, c, encode(f.key.sign(h+"."+c)))
	}
}

// segments makes a token from segments that encode would not produce, properly
// signed as they are.
func segments(write func(header, claims string) (string, string)) builder {
	return func(f *forge) string {
		h, c := write(f.expand(goodHeader), f.expand(goodClaims))
		return h + "." + c + "." + encode(f.key.sign(h+"."+c))
	}
}

// certificate returns a self-signed certificate of the key, in DER.
func (s *signer) certificate() []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "sessions.example.com"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	return must(x509.CreateCertificate(nil, template, template, s.key.Public(), s.private))
}
