package verify_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

const (
	testIssuer   = "https://sessions.example.com"
	testAudience = "customer-portal"
	customerID   = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	sessionID    = "3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11"
	orgID        = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	memberID     = "7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07"
)

// A signer makes tokens the way an issuer, or an attacker with its key, would.
type signer struct {
	private crypto.Signer
	key     *jwk.Key
}

func newSigner(t testing.TB, algorithm jwk.Algorithm) *signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case jwk.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwk.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jwk.RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.New(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{private, key}
}

// Key lets a signer stand for the issuer's whole key set.
func (s *signer) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if keyID != s.key.ID() {
		return nil, verify.ErrUnknownKey
	}
	return s.key, nil
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func (s *signer) sign(t testing.TB, input string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	switch private := s.private.(type) {
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		v.FillBytes(signature[32:])
		jwk.NormalizeS(signature)
		return signature
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(input))
	default:
		signature, err := private.Sign(nil, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

// token signs a header and a payload as they are.
func (s *signer) token(t testing.TB, header, payload string) string {
	t.Helper()
	input := encode(header) + "." + encode(payload)
	return input + "." + base64.RawURLEncoding.EncodeToString(s.sign(t, input))
}

func (s *signer) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"customer-session+jwt"}`, s.key.Algorithm(), s.key.ID())
}

// payload returns good claims in which the pairs of old and new are replaced.
func payload(oldnew ...string) string {
	now := time.Now().Unix()
	good := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":%q,"sid":%q,"org":%q,"iat":%d,"exp":%d,"return_url":"https://shop.example.com/","scope":"customer_portal:write"}`,
		testIssuer, testAudience, customerID, sessionID, orgID, now, now+3600)
	replaced := strings.NewReplacer(oldnew...).Replace(good)
	if len(oldnew) > 0 && replaced == good {
		panic("payload: nothing replaced by " + strings.Join(oldnew, ", "))
	}
	return replaced
}

func newVerifier(t testing.TB, keys verify.KeySource, algorithms ...jwk.Algorithm) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{
		Issuer: testIssuer, Audience: testAudience, KeySource: keys, Algorithms: algorithms,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			s := newSigner(t, algorithm)
			v := newVerifier(t, s, algorithm)
			now := time.Now().Truncate(time.Second).UTC()
			got, err := v.Verify(t.Context(), s.token(t, s.header(), payload(`{`, `{"client_id":"Zk3bQ9xA",`)))
			want := verify.Session{
				ID: sessionID, CustomerID: customerID, OrganizationID: orgID, ClientID: "Zk3bQ9xA", Issuer: testIssuer,
				Audience: []string{testAudience}, IssuedAt: got.IssuedAt, ExpiresAt: got.IssuedAt.Add(time.Hour),
				KeyID: s.key.ID(), ReturnURL: "https://shop.example.com/", Scopes: []string{wire.Scope},
			}
			if err != nil || !reflect.DeepEqual(got, want) || got.IssuedAt.Sub(now).Abs() > time.Minute {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			if !got.HasScope(wire.Scope) || got.HasScope("other") {
				t.Errorf("wrong answer about scopes %q", got.Scopes)
			}
		})
	}
}

// Every claim and header in a form that must pass.
func TestVerifyAccepts(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	for name, p := range map[string]string{
		"list of audiences":     payload(`"aud":"customer-portal"`, `"aud":["other","customer-portal"]`),
		"sixteen audiences":     payload(`"aud":"customer-portal"`, `"aud":["customer-portal"`+strings.Repeat(`,"x"`, 15)+`]`),
		"unknown claims":        payload(`{`, `{"name":{"a":[1,null,"x"]},"jti":"1",`),
		"no return URL":         payload(`,"return_url":"https://shop.example.com/"`, ``),
		"member":                payload(`{`, `{"member_id":"`+memberID+`","role":"billing_manager",`),
		"no scope":              payload(`,"scope":"customer_portal:write"`, ``),
		"not before, now":       payload(`{`, fmt.Sprintf(`{"nbf":%d,`, time.Now().Unix())),
		"white space":           payload(`,`, " ,\r\n\t"),
		"escaped name and text": payload(`"sub":"9`, `"s\u0075b":"\u0039`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := v.Verify(t.Context(), s.token(t, s.header(), p)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, typ := range []string{"Customer-Session+JWT", "application/customer-session+jwt", "APPLICATION/customer-session+jwt"} {
		header := strings.Replace(s.header(), wire.TokenType, typ, 1)
		if _, err := v.Verify(t.Context(), s.token(t, header, payload())); err != nil {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
}

func TestVerifyRefusesClaims(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	now := time.Now().Unix()
	iat, exp := fmt.Sprintf(`"iat":%d`, now), fmt.Sprintf(`"exp":%d`, now+3600)
	// The clock may tick between here and payload(), so dates are set anew.
	dated := func(oldnew ...string) string {
		fixed := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":%q,"sid":%q,"org":%q,%s,%s}`,
			testIssuer, testAudience, customerID, sessionID, orgID, iat, exp)
		return strings.NewReplacer(oldnew...).Replace(fixed)
	}
	for _, tc := range []struct {
		name, payload string
		want, also    error
	}{
		{"not JSON", `x`, verify.ErrMalformed, jwt.ErrTokenMalformed},
		{"a list", `[]`, verify.ErrMalformed, nil},
		{"data after", payload() + `{}`, verify.ErrMalformed, nil},
		{"claim twice", payload(`{`, `{"sub":"x",`), verify.ErrMalformed, nil},
		{"claim twice after unescaping", payload(`{`, `{"\u0073ub":"x",`), verify.ErrMalformed, nil},
		{"twice inside an unknown claim", payload(`{`, `{"x":{"a":1,"a":2},`), verify.ErrMalformed, nil},
		{"SUB", payload(`"sub"`, `"SUB"`), verify.ErrMalformed, nil},
		{"ſub beside sub", payload(`{`, `{"ſub":"x",`), verify.ErrMalformed, nil},
		{"ſcope", payload(`{`, `{"ſcope":"x",`), verify.ErrMalformed, nil},
		{"invalid UTF-8", payload(`{`, "{\"x\":\"\xff\","), verify.ErrMalformed, nil},
		{"lone surrogate", payload(`{`, `{"x":"\ud800",`), verify.ErrMalformed, nil},
		{"too deep", payload(`{`, `{"x":[[[[[[[[]]]]]]]],`), verify.ErrMalformed, nil},
		{"empty object", `{}`, verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no iss", payload(`"iss":"`+testIssuer+`",`, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no aud", payload(`"aud":"customer-portal",`, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no sub", payload(`"sub":"`+customerID+`",`, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no sid", payload(`"sid":"`+sessionID+`",`, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no org", payload(`"org":"`+orgID+`",`, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no iat", dated(iat+",", ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"no exp", dated(","+exp, ``), verify.ErrClaims, jwt.ErrTokenRequiredClaimMissing},
		{"iss null", payload(`"`+testIssuer+`"`, `null`), verify.ErrClaims, nil},
		{"iss a number", payload(`"`+testIssuer+`"`, `1`), verify.ErrClaims, nil},
		{"iss with a slash", payload(testIssuer, testIssuer+"/"), verify.ErrIssuer, jwt.ErrTokenInvalidIssuer},
		{"iss in capitals", payload(testIssuer, strings.ToUpper(testIssuer)), verify.ErrIssuer, nil},
		{"iss empty", payload(testIssuer, ""), verify.ErrClaims, nil},
		{"iss of 256 bytes", payload(testIssuer, strings.Repeat("a", 256)), verify.ErrClaims, nil},
		{"aud of another", payload(testAudience, "admin"), verify.ErrAudience, jwt.ErrTokenInvalidAudience},
		{"aud a prefix", payload(testAudience, "customer"), verify.ErrAudience, nil},
		{"aud empty list", payload(`"customer-portal"`, `[]`), verify.ErrClaims, nil},
		{"aud with a number", payload(`"customer-portal"`, `["customer-portal",1]`), verify.ErrClaims, nil},
		{"aud nested", payload(`"customer-portal"`, `[["customer-portal"]]`), verify.ErrClaims, nil},
		{"aud an object", payload(`"customer-portal"`, `{"customer-portal":1}`), verify.ErrClaims, nil},
		{"seventeen audiences", payload(`"customer-portal"`, `["customer-portal"`+strings.Repeat(`,"x"`, 16)+`]`), verify.ErrClaims, nil},
		{"sub not a UUID", payload(customerID, "alice"), verify.ErrClaims, nil},
		{"sub in capitals", payload(customerID, strings.ToUpper(customerID)), verify.ErrClaims, nil},
		{"sub in braces", payload(customerID, "{"+customerID+"}"), verify.ErrClaims, nil},
		{"sid without dashes", payload(sessionID, strings.ReplaceAll(sessionID, "-", "")), verify.ErrClaims, nil},
		{"org with a space", payload(orgID, orgID+" "), verify.ErrClaims, nil},
		{"control character", payload(`shop`, `\u0000`), verify.ErrClaims, nil},
		{"C1 control character", payload(`shop`, "\u0085"), verify.ErrClaims, nil},
		{"long return URL", payload(`shop`, strings.Repeat("a", 2084)), verify.ErrClaims, nil},
		{"return URL of a script", payload(`"https://shop.example.com/"`, `"javascript:alert(1)"`), verify.ErrClaims, nil},
		{"client_id a number", payload(`{`, `{"client_id":1,`), verify.ErrClaims, nil},
		{"client_id empty", payload(`{`, `{"client_id":"",`), verify.ErrClaims, nil},
		{"Client_ID", payload(`{`, `{"Client_ID":"x",`), verify.ErrMalformed, nil},
		{"member_id not a UUID", payload(`{`, `{"member_id":"ada","role":"owner",`), verify.ErrClaims, nil},
		{"member_id without role", payload(`{`, `{"member_id":"`+memberID+`",`), verify.ErrClaims, nil},
		{"role without member_id", payload(`{`, `{"role":"owner",`), verify.ErrClaims, nil},
		{"role a list", payload(`{`, `{"member_id":"`+memberID+`","role":["owner"],`), verify.ErrClaims, nil},
		{"Role", payload(`{`, `{"Role":"owner",`), verify.ErrMalformed, nil},
		{"scope a list", payload(`"customer_portal:write"`, `["customer_portal:write"]`), verify.ErrClaims, nil},
		{"exp a string", dated(exp, fmt.Sprintf(`"exp":"%d"`, now+3600)), verify.ErrClaims, nil},
		{"exp a fraction", dated(exp, fmt.Sprintf(`"exp":%d.5`, now+3600)), verify.ErrClaims, nil},
		{"exp with an exponent", dated(exp, `"exp":2e9`), verify.ErrClaims, nil},
		{"exp zero", dated(exp, `"exp":0`), verify.ErrClaims, nil},
		{"exp negative", dated(exp, `"exp":-1`), verify.ErrClaims, nil},
		{"exp after the year 9999", dated(exp, `"exp":253402300800`), verify.ErrClaims, nil},
		{"exp overflowing", dated(exp, `"exp":18446744073709551617`), verify.ErrClaims, nil},
		{"exp in milliseconds", dated(exp, fmt.Sprintf(`"exp":%d000`, now+3600)), verify.ErrClaims, nil},
		{"exp null", dated(exp, `"exp":null`), verify.ErrClaims, nil},
		{"lifetime over a day", dated(exp, fmt.Sprintf(`"exp":%d`, now+86401)), verify.ErrClaims, nil},
		{"exp before iat", dated(iat, fmt.Sprintf(`"iat":%d`, now+29), exp, fmt.Sprintf(`"exp":%d`, now+28)), verify.ErrClaims, nil},
		{"expired", dated(iat, fmt.Sprintf(`"iat":%d`, now-100), exp, fmt.Sprintf(`"exp":%d`, now-60)), verify.ErrExpired, jwt.ErrTokenExpired},
		{"issued in the future", dated(iat, fmt.Sprintf(`"iat":%d`, now+300)), verify.ErrNotYetValid, jwt.ErrTokenUsedBeforeIssued},
		{"not before in the future", dated(iat, iat+fmt.Sprintf(`,"nbf":%d`, now+300)), verify.ErrNotYetValid, jwt.ErrTokenNotValidYet},
		{"nbf a string", dated(iat, iat+`,"nbf":"1"`), verify.ErrClaims, nil},
	} {
		// Not in parallel: the dates are close to now, and a parallel case
		// may wait for minutes.
		t.Run(tc.name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), s.token(t, s.header(), tc.payload))
			if !errors.Is(err, tc.want) || tc.also != nil && !errors.Is(err, tc.also) {
				t.Errorf("got %v, want %v and %v", err, tc.want, tc.also)
			}
			if !reflect.ValueOf(got).IsZero() {
				t.Errorf("got a session beside the error: %+v", got)
			}
			if err != nil && strings.Contains(err.Error(), customerID) {
				t.Errorf("the error shows a claim: %v", err)
			}
		})
	}
}

func TestVerifyRefusesHeaders(t *testing.T) {
	t.Parallel()
	s, okp, rs := newSigner(t, jwk.ES256), newSigner(t, jwk.EdDSA), newSigner(t, jwk.RS256)
	v := newVerifier(t, s)
	replaced := func(oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(s.header()) }
	for _, tc := range []struct {
		name, header string
		want         error
	}{
		{"not JSON", `x`, verify.ErrMalformed},
		{"a string", `"x"`, verify.ErrMalformed},
		{"alg twice", replaced(`{`, `{"alg":"none",`), verify.ErrMalformed},
		{"no alg", replaced(`"alg":"ES256",`, ``), verify.ErrMalformed},
		{"no kid", replaced(`"kid":"`+s.key.ID()+`",`, ``), verify.ErrMalformed},
		{"no typ", replaced(`,"typ":"customer-session+jwt"`, ``), verify.ErrMalformed},
		{"alg a list", replaced(`"ES256"`, `["ES256"]`), verify.ErrMalformed},
		{"kid a number", replaced(`"`+s.key.ID()+`"`, `1`), verify.ErrMalformed},
		{"ALG", replaced(`alg`, `ALG`), verify.ErrMalformed},
		{"crit", replaced(`{`, `{"crit":["exp"],`), verify.ErrMalformed},
		{"b64", replaced(`{`, `{"b64":"false",`), verify.ErrMalformed},
		{"zip", replaced(`{`, `{"zip":"DEF",`), verify.ErrMalformed},
		{"jwk", replaced(`{`, `{"jwk":`+string(s.key.AppendJSON(nil))+`,`), verify.ErrMalformed},
		{"jku", replaced(`{`, `{"jku":"https://evil.example/",`), verify.ErrMalformed},
		{"x5c", replaced(`{`, `{"x5c":["AA"],`), verify.ErrMalformed},
		{"unknown", replaced(`{`, `{"foo":"bar",`), verify.ErrMalformed},
		{"none", replaced(`ES256`, `none`), verify.ErrAlgorithm},
		{"None", replaced(`ES256`, `None`), verify.ErrAlgorithm},
		{"empty alg", replaced(`ES256`, ``), verify.ErrAlgorithm},
		{"HS256", replaced(`ES256`, `HS256`), verify.ErrAlgorithm},
		{"es256", replaced(`ES256`, `es256`), verify.ErrAlgorithm},
		{"alg with a space", replaced(`ES256`, `ES256 `), verify.ErrAlgorithm},
		{"EdDSA with an EC key", replaced(`ES256`, `EdDSA`), verify.ErrAlgorithm},
		{"RS256, which was not named", replaced(`ES256`, `RS256`), verify.ErrAlgorithm},
		{"JWT", replaced(wire.TokenType, `JWT`), verify.ErrType},
		{"empty typ", replaced(wire.TokenType, ``), verify.ErrType},
		{"at+jwt", replaced(wire.TokenType, `at+jwt`), verify.ErrType},
		{"text/customer-session+jwt", replaced(wire.TokenType, `text/customer-session+jwt`), verify.ErrType},
		{"twice application", replaced(wire.TokenType, `application/application/customer-session+jwt`), verify.ErrType},
		{"unknown key", okp.header(), verify.ErrUnknownKey},
		{"unknown RSA key", rs.header(), verify.ErrAlgorithm},
		{"a path for a kid", replaced(s.key.ID(), `../../../dev/null`), verify.ErrUnknownKey},
		{"an SQL string for a kid", replaced(s.key.ID(), `' OR 1=1 --`), verify.ErrUnknownKey},
		{"empty kid", replaced(s.key.ID(), ``), verify.ErrUnknownKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := v.Verify(t.Context(), s.token(t, tc.header, payload())); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestVerifyRefusesSerializations(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	good := s.token(t, s.header(), payload())
	parts := strings.Split(good, ".")
	der, err := s.private.(*ecdsa.PrivateKey).Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty":                  "",
		"dots":                   "..",
		"no signature":           parts[0] + "." + parts[1] + ".",
		"two segments":           parts[0] + "." + parts[1],
		"four segments":          good + "." + parts[2],
		"five segments":          good + ".a.b",
		"JSON serialization":     `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"space in front":         " " + good,
		"line break at the end":  good + "\n",
		"line break inside":      good[:len(good)-8] + "\r\n" + good[len(good)-8:],
		"padding":                good + "=",
		"standard alphabet":      strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+",
		"percent encoding":       strings.Replace(good, ".", "%2E", 1),
		"prefix":                 "Bearer " + good,
		"not ASCII":              good + "é",
		"NUL":                    good + "\x00",
		"4097 bytes":             s.token(t, s.header(), payload(`"https://shop.example.com/"`, `"https://`+strings.Repeat("a", 2000)+`","x":"`+strings.Repeat("a", 700)+`"`)),
		"another's signature":    parts[0] + "." + parts[1] + "." + strings.Split(other.token(t, s.header(), payload()), ".")[2],
		"signature of zeros":     parts[0] + "." + parts[1] + "." + encode(strings.Repeat("\x00", 64)),
		"DER signature":          parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(der),
		"signature of 65 bytes":  parts[0] + "." + parts[1] + "." + encode(strings.Repeat("\x01", 65)),
		"another's key, same ID": other.token(t, s.header(), payload()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := v.Verify(t.Context(), token)
			if !errors.Is(err, verify.ErrMalformed) && !errors.Is(err, verify.ErrSignature) {
				t.Errorf("got %v, want malformed or a bad signature", err)
			}
		})
	}
}

// One token has one spelling: any other byte anywhere, and any shorter text,
// is refused.
func TestVerifyRefusesMutations(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.EdDSA)
	v := newVerifier(t, s)
	good := s.token(t, s.header(), payload())
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for i := range len(good) {
		for _, c := range []byte("ABQgwz019-_.=\n \x00\xff") {
			if good[i] == c {
				continue
			}
			if _, err := v.Verify(t.Context(), good[:i]+string(rune(c))+good[i+1:]); err == nil {
				t.Errorf("byte %d changed to %q was accepted", i, c)
			}
		}
		if _, err := v.Verify(t.Context(), good[:i]); err == nil {
			t.Errorf("the first %d bytes were accepted", i)
		}
	}
}

func TestVerifyOverTime(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, s)
		token := s.token(t, s.header(), payload())
		start := time.Now()
		for _, tc := range []struct {
			after time.Duration
			want  error
		}{
			{0, nil},
			{time.Hour - time.Second, nil},
			{time.Hour + 30*time.Second - 1, nil}, // the last nanosecond of the leeway
			{time.Hour + 30*time.Second, verify.ErrExpired},
			{24 * time.Hour, verify.ErrExpired},
		} {
			time.Sleep(time.Until(start.Add(tc.after)))
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, tc.want) {
				t.Errorf("after %v: got %v, want %v", tc.after, err, tc.want)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := verify.Config{Issuer: testIssuer, Audience: testAudience}
	if _, err := verify.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*verify.Config){
		"no issuer":             func(c *verify.Config) { c.Issuer = "" },
		"blank issuer":          func(c *verify.Config) { c.Issuer = " \t"; c.JWKSetURL = "https://a.example/" },
		"blank audience":        func(c *verify.Config) { c.Audience = " " },
		"no audience":           func(c *verify.Config) { c.Audience = "" },
		"unknown algorithm":     func(c *verify.Config) { c.Algorithms = []jwk.Algorithm{"HS256"} },
		"none":                  func(c *verify.Config) { c.Algorithms = []jwk.Algorithm{jwk.ES256, "none"} },
		"no algorithm":          func(c *verify.Config) { c.Algorithms = []jwk.Algorithm{} },
		"leeway above 5 min":    func(c *verify.Config) { c.Leeway = 5*time.Minute + 1 },
		"negative leeway":       func(c *verify.Config) { c.Leeway = -1 },
		"negative lifetime":     func(c *verify.Config) { c.MaxLifetime = -1 },
		"negative MaxStale":     func(c *verify.Config) { c.MaxStale = -1 },
		"http":                  func(c *verify.Config) { c.JWKSetURL = "http://sessions.example.com/jwks" },
		"http by the issuer":    func(c *verify.Config) { c.Issuer = "http://sessions.example.com" },
		"loopback look-alike":   func(c *verify.Config) { c.JWKSetURL = "http://127.0.0.1.example.com/" },
		"loopback as user":      func(c *verify.Config) { c.JWKSetURL = "http://localhost@evil.example/" },
		"file URL":              func(c *verify.Config) { c.JWKSetURL = "file:///etc/keys" },
		"relative URL":          func(c *verify.Config) { c.JWKSetURL = "/jwks" },
		"realm with a quote":    func(c *verify.Config) { c.Realm = `a"b` },
		"two sources of keys":   func(c *verify.Config) { c.KeySource = &signer{}; c.JWKSetURL = "https://a.example/" },
		"a useless MaxStale":    func(c *verify.Config) { c.KeySource = &signer{}; c.MaxStale = time.Hour },
		"a useless HTTP client": func(c *verify.Config) { c.KeySource = &signer{}; c.HTTPClient = nil; c.JWKSetURL = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := good
			change(&config)
			if v, err := verify.New(config); err == nil || v != nil {
				t.Errorf("got %v, %v, want an error", v, err)
			}
		})
	}
	for _, url := range []string{"http://127.0.0.1:8080/jwks", "http://[::1]:8080/jwks", "http://localhost/jwks"} {
		config := good
		config.JWKSetURL = url
		if _, err := verify.New(config); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	_, err := verify.New(verify.Config{Leeway: time.Hour})
	for _, want := range []string{"Issuer", "Audience", "Leeway", "JWKSetURL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to mention %s: all problems at once", err, want)
		}
	}
}

// sourceFunc is a KeySource that is a function.
type sourceFunc func(keyID string) (*jwk.Key, error)

func (f sourceFunc) Key(_ context.Context, keyID string) (*jwk.Key, error) { return f(keyID) }

// Whatever keeps a KeySource from an answer, the token cannot be judged.
func TestKeySourceFails(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	down := errors.New("database is down")
	for name, tc := range map[string]struct {
		source sourceFunc
		want   []error
	}{
		"neither key nor error": {func(string) (*jwk.Key, error) { return nil, nil }, []error{verify.ErrKeysUnavailable}},
		"an error of its own":   {func(string) (*jwk.Key, error) { return nil, down }, []error{verify.ErrKeysUnavailable, down}},
		"unknown": {func(id string) (*jwk.Key, error) {
			return nil, fmt.Errorf("looking for a key: %w", verify.ErrUnknownKey)
		}, []error{verify.ErrUnknownKey, jwt.ErrTokenUnverifiable}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, tc.source)
			_, err := v.Verify(t.Context(), s.token(t, s.header(), payload()))
			for _, want := range tc.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+s.token(t, s.header(), payload()))
			v.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
			want := http.StatusServiceUnavailable
			if errors.Is(tc.want[0], verify.ErrUnknownKey) {
				want = http.StatusUnauthorized
			}
			if w.Code != want {
				t.Errorf("got status %d, want %d", w.Code, want)
			}
		})
	}
}

// A slash at the end of Config.Issuer is the most common mistake: the error of
// a token says so, and so does the log of a fetch that fails for it.
func TestTrailingSlashIsNamed(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	log := &logbook{}
	config := verify.Config{Issuer: testIssuer + "/", Audience: testAudience, KeySource: s}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), s.token(t, s.header(), payload()))
	if !errors.Is(err, verify.ErrIssuer) || !strings.Contains(err.Error(), "slash") {
		t.Errorf("got %v, want %v that names the slash", err, verify.ErrIssuer)
	}
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.set(reply(http.StatusNotFound, ""))
		config.KeySource, config.HTTPClient, config.Logger = nil, &http.Client{Transport: p}, log.logger()
		v, err := verify.New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		_, err = v.Verify(t.Context(), s.token(t, s.header(), payload()))
		if !errors.Is(err, verify.ErrKeysUnavailable) || !strings.Contains(err.Error(), "slash") {
			t.Errorf("got %v, want %v that names the slash", err, verify.ErrKeysUnavailable)
		}
		for _, want := range []string{"url=" + testIssuer + "//.well-known/jwks.json", "status=404", "slash"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("got log %q, want %s in it", log, want)
			}
		}
	})
}

// At debug level the log says why a token was refused and what was expected,
// and nothing of the token.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t, jwk.ES256), newSigner(t, jwk.ES256)
	set, err := jwk.NewSet(s.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		token string
		want  []string
	}{
		{"x.y", []string{"reason=malformed", "detail="}},
		{s.token(t, strings.Replace(s.header(), "ES256", "HS256", 1), payload()), []string{"reason=algorithm", "ES256"}},
		{other.token(t, other.header(), payload()), []string{"reason=unknown_key", "key_ids=[" + s.key.ID() + "]"}},
		{other.token(t, s.header(), payload()), []string{"reason=signature"}},
		{s.token(t, s.header(), payload(testIssuer, "https://other.example")), []string{"reason=issuer", "expected_issuer=" + testIssuer}},
		{s.token(t, s.header(), payload(testAudience, "other")), []string{"reason=audience", "expected_audience=" + testAudience}},
		{s.token(t, s.header(), payload(customerID, "other")), []string{"reason=claims", "sub is not a UUID"}},
	} {
		log := &logbook{}
		debug := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		v, err := verify.New(verify.Config{Issuer: testIssuer, Audience: testAudience, Keys: set, Logger: debug})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), tc.token); err == nil {
			t.Errorf("%v: accepted", tc.want)
		}
		for _, want := range append(tc.want, "token refused") {
			if !strings.Contains(log.String(), want) {
				t.Errorf("got log %q, want %s in it", log, want)
			}
		}
		for _, secret := range []string{"other", customerID, other.key.ID()} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log %q shows %s of the token", log, secret)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := newSigner(f, jwk.EdDSA)
	v := newVerifier(f, s)
	f.Add(s.token(f, s.header(), payload()))
	f.Add(s.token(f, s.header(), `{}`))
	f.Add("a.b.c")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		session, err := v.Verify(t.Context(), token)
		if err != nil {
			return
		}
		// Accepted means signed, so it must be one of the seeds, byte by byte.
		for segment := range strings.SplitSeq(token, ".") {
			raw, err := base64.RawURLEncoding.DecodeString(segment)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != segment {
				t.Errorf("accepted a segment that is not canonical: %q", segment)
			}
		}
		if session.ID == "" {
			t.Error("accepted without a session")
		}
	})
}

// FuzzSigned fuzzes what comes after the signature.
func FuzzSigned(f *testing.F) {
	s := newSigner(f, jwk.EdDSA)
	v := newVerifier(f, s)
	f.Add(s.header(), payload())
	f.Add(s.header(), `{"iss":1}`)
	f.Add(`{"alg":"EdDSA"}`, payload())
	f.Fuzz(func(t *testing.T, header, payload string) {
		session, err := v.Verify(t.Context(), s.token(t, header, payload))
		if (err == nil) != (session.ID != "") {
			t.Errorf("got session %q beside %v", session.ID, err)
		}
	})
}
