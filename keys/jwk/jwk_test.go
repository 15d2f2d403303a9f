package jwk_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Public keys out of the specifications.
const (
	// RFC 7515, Appendix A.3.1.
	rfc7515EC = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	// RFC 8037, Appendix A.2; its thumbprint is in Appendix A.3.
	rfc8037OKP        = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	rfc8037Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	// RFC 7638, Section 3.1, with its thumbprint.
	rfc7638RSA = `"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst` +
		`n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS` +
		`D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"`
	rfc7638Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func thumbprint(t *testing.T, required string) string {
	t.Helper()
	set := `{` + required + `,"kid":"` + strings.Repeat("A", 43) + `"}`
	if _, err := jwk.Parse([]byte(set)); !errors.Is(err, jwk.ErrThumbprint) {
		t.Fatalf("wrong key ID: got %v, want %v", err, jwk.ErrThumbprint)
	}
	var m struct{ Kty, X, Y string }
	if err := json.Unmarshal([]byte("{"+required+"}"), &m); err != nil {
		t.Fatal(err)
	}
	if m.Kty != "EC" {
		t.Fatal("only for EC")
	}
	decode := base64.RawURLEncoding.DecodeString
	x, _ := decode(m.X)
	y, _ := decode(m.Y)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		t.Fatal(err)
	}
	k, err := jwk.New(public)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID()
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, members, id string
		algorithm         jwk.Algorithm
		size              int
	}{
		{"EC", rfc7515EC, thumbprint(t, rfc7515EC), jwk.ES256, 64},
		{"Ed25519", rfc8037OKP, rfc8037Thumbprint, jwk.EdDSA, 64},
		{"RSA", rfc7638RSA, rfc7638Thumbprint, jwk.RS256, 256},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, more := range []string{
				"", `,"alg":"` + string(tc.algorithm) + `"`, `,"use":"sig","key_ops":["sign","verify"]`, `,"x5c":["AA"],"ext":true`,
			} {
				k, err := jwk.Parse([]byte(`{` + tc.members + `,"kid":"` + tc.id + `"` + more + `}`))
				if err != nil {
					t.Fatalf("with %q: %v", more, err)
				}
				if k.ID() != tc.id || k.Algorithm() != tc.algorithm || k.SignatureSize() != tc.size {
					t.Errorf("got %s, %s, %d", k.ID(), k.Algorithm(), k.SignatureSize())
				}
				again, err := jwk.Parse(k.AppendJSON(nil))
				if err != nil || !again.Equal(k) {
					t.Errorf("written and read again: %v", err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	ec := rfc7515EC + `,"kid":"` + thumbprint(t, rfc7515EC) + `"`
	okp := rfc8037OKP + `,"kid":"` + rfc8037Thumbprint + `"`
	rsaKey := rfc7638RSA + `,"kid":"` + rfc7638Thumbprint + `"`
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"not JSON", `x`, ijson.ErrNotObject},
		{"member twice", ec + `,"kid":"x"`, ijson.ErrDuplicate},
		{"no kty", `"kid":"x"`, jwk.ErrUnsupported},
		{"unknown kty", `"kty":"AKP","kid":"x"`, jwk.ErrUnsupported},
		{"unknown curve", strings.Replace(ec, "P-256", "P-384", 1), jwk.ErrUnsupported},
		{"secp256k1", strings.Replace(ec, "P-256", "secp256k1", 1), jwk.ErrUnsupported},
		{"X25519", strings.Replace(okp, "Ed25519", "X25519", 1), jwk.ErrUnsupported},
		{"unknown algorithm", ec + `,"alg":"ES999"`, jwk.ErrUnsupported},
		{"none", ec + `,"alg":"none"`, jwk.ErrUnsupported},
		{"HS256", ec + `,"alg":"HS256"`, jwk.ErrUnsupported},
		{"PS256", rsaKey + `,"alg":"PS256"`, jwk.ErrUnsupported},
		{"symmetric", `"kty":"oct","k":"AAAA","kid":"x"`, jwk.ErrPrivate},
		{"oct without k", `"kty":"oct","kid":"x"`, jwk.ErrPrivate},
		{"private EC", ec + `,"d":"AA"`, jwk.ErrPrivate},
		{"private RSA, only a prime", rsaKey + `,"p":"AA"`, jwk.ErrPrivate},
		{"for encryption", ec + `,"use":"enc"`, jwk.ErrNotForVerify},
		{"only signs", ec + `,"key_ops":["sign"]`, jwk.ErrNotForVerify},
		{"no operation", ec + `,"key_ops":[]`, jwk.ErrNotForVerify},
		{"key_ops not a list", ec + `,"key_ops":"verify"`, jwk.ErrMalformed},
		{"key_ops of numbers", ec + `,"key_ops":["verify",1]`, jwk.ErrMalformed},
		{"use not a string", ec + `,"use":1`, jwk.ErrMalformed},
		{"kid not a string", rfc7515EC + `,"kid":1`, jwk.ErrMalformed},
		{"kty not a string", `"kty":null`, jwk.ErrMalformed},
		{"alg of another key", ec + `,"alg":"RS256"`, jwk.ErrContradiction},
		{"EdDSA on P-256", ec + `,"alg":"EdDSA"`, jwk.ErrContradiction},
		{"no kid", rfc7515EC, jwk.ErrThumbprint},
		{"kid of another key", rfc7515EC + `,"kid":"` + rfc8037Thumbprint + `"`, jwk.ErrThumbprint},
		{"off the curve", strings.Replace(ec, "f83O", "f83P", 1), jwk.ErrPoint},
		{"infinity", ecMembers(make([]byte, 32), make([]byte, 32)), jwk.ErrPoint},
		{"x = p", ecMembers(elliptic.P256().Params().P.Bytes(), make([]byte, 32)), jwk.ErrPoint},
		{"short coordinate", `"kty":"EC","crv":"P-256","x":"AA","y":"AA"`, jwk.ErrPoint},
		{"coordinate with a zero in front", ecMembers(make([]byte, 33), make([]byte, 32)), jwk.ErrPoint},
		{"no y", `"kty":"EC","crv":"P-256","x":"AA"`, jwk.ErrMalformed},
		{"padding", strings.Replace(okp, `HURo"`, `HURo="`, 1), jwk.ErrMalformed},
		{"line break", strings.Replace(okp, `HURo"`, `HURo\n"`, 1), jwk.ErrMalformed},
		{"standard alphabet", strings.Replace(okp, `_`, `/`, 1), jwk.ErrMalformed},
		{"unused bits", strings.Replace(okp, `HURo"`, `HURp"`, 1), jwk.ErrMalformed},
		{"Ed25519, 31 bytes", okpMembers(make([]byte, 31)), jwk.ErrPoint},
		{"Ed25519, y off the curve", okpMembers(append([]byte{2}, make([]byte, 31)...)), jwk.ErrPoint},
		{"RSA exponent 3", strings.Replace(rsaKey, "AQAB", "Aw", 1), jwk.ErrRSA},
		{"RSA 2047 bits", rsaMembers(2047, 1), jwk.ErrRSA},
		{"RSA 8193 bits", rsaMembers(8193, 1), jwk.ErrRSA},
		{"RSA even modulus", rsaMembers(2048, 0), jwk.ErrRSA},
		{"RSA modulus with a zero in front", `"kty":"RSA","e":"AQAB","n":"AAAA"`, jwk.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := tc.text
			if text != "x" {
				text = "{" + text + "}"
			}
			if _, err := jwk.Parse([]byte(text)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func ecMembers(x, y []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`"kty":"EC","crv":"P-256","x":%q,"y":%q`, encode(x), encode(y))
}

func okpMembers(x []byte) string {
	return fmt.Sprintf(`"kty":"OKP","crv":"Ed25519","x":%q`, base64.RawURLEncoding.EncodeToString(x))
}

func rsaMembers(bits, last uint) string {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	n.SetBit(n, 0, last)
	return fmt.Sprintf(`"kty":"RSA","e":"AQAB","n":%q`, base64.RawURLEncoding.EncodeToString(n.Bytes()))
}

// The points of small order of Curve25519's Edwards form, and their encodings
// that are not canonical ("Taming the many EdDSAs", 2020, Table 1).
func TestEd25519SmallOrder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"0100000000000000000000000000000000000000000000000000000000000000": jwk.ErrSmallOrder,
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": jwk.ErrSmallOrder,
		"0000000000000000000000000000000000000000000000000000000000000000": jwk.ErrSmallOrder,
		"0000000000000000000000000000000000000000000000000000000000000080": jwk.ErrSmallOrder,
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": jwk.ErrSmallOrder,
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85": jwk.ErrSmallOrder,
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": jwk.ErrSmallOrder,
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa": jwk.ErrSmallOrder,
		"0100000000000000000000000000000000000000000000000000000000000080": jwk.ErrPoint,
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": jwk.ErrPoint,
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": jwk.ErrPoint,
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": jwk.ErrPoint,
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": jwk.ErrPoint,
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": jwk.ErrPoint,
	} {
		public, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jwk.New(ed25519.PublicKey(public)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jwk.New(public); err != nil {
			t.Errorf("good key %x: %v", public, err)
		}
	}
}

func TestNewRefusesOtherKeys(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]any{
		"P-384": &p384.PublicKey, "nil": nil, "by value": p384.PublicKey, "bytes": []byte{1},
	} {
		if _, err := jwk.New(public); !errors.Is(err, jwk.ErrUnsupported) {
			t.Errorf("%s: got %v, want %v", name, err, jwk.ErrUnsupported)
		}
	}
	if _, err := jwk.New(&rsa.PublicKey{}); !errors.Is(err, jwk.ErrRSA) {
		t.Errorf("empty RSA key: got %v, want %v", err, jwk.ErrRSA)
	}
}

func TestParseSet(t *testing.T) {
	t.Parallel()
	ecID := thumbprint(t, rfc7515EC)
	ec := `{` + rfc7515EC + `,"kid":"` + ecID + `"}`
	okp := `{` + rfc8037OKP + `,"kid":"` + rfc8037Thumbprint + `"}`
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	repeat := func(n int) []string {
		keys := []string{ec}
		for i := 1; i < n; i++ {
			keys = append(keys, fmt.Sprintf(`{"kty":"new","kid":"%d"}`, i))
		}
		return keys
	}
	for _, tc := range []struct {
		name, text string
		ids        []string
		skipped    []error
		err        error
	}{
		{name: "two keys", text: set(ec, okp), ids: []string{ecID, rfc8037Thumbprint}},
		{name: "other members", text: `{"a":{"b":[]},"keys":[` + ec + `]}`, ids: []string{ecID}},
		{name: "the same key twice", text: set(ec, ec), ids: []string{ecID}},
		{name: "64 keys", text: set(repeat(64)...), ids: []string{ecID}, skipped: make([]error, 63)},
		{
			name: "bad keys among good ones", text: set(`{"kty":"AKP"}`, ec, `7`, `{"kty":"oct","k":"AA"}`, okp),
			ids:     []string{ecID, rfc8037Thumbprint},
			skipped: []error{jwk.ErrUnsupported, ijson.ErrNotObject, jwk.ErrPrivate},
		},
		{name: "65 keys", text: set(repeat(65)...), err: jwk.ErrTooManyKeys},
		{name: "not JSON", text: `<html>`, err: jwk.ErrNotASet},
		{name: "a list", text: `[` + ec + `]`, err: jwk.ErrNotASet},
		{name: "a single key", text: ec, err: jwk.ErrNotASet},
		{name: "keys an object", text: `{"keys":{}}`, err: jwk.ErrNotASet},
		{name: "keys twice", text: `{"keys":[` + ec + `],"keys":[]}`, err: jwk.ErrNotASet},
		{name: "no key", text: `{"keys":[]}`, err: jwk.ErrEmptySet},
		{name: "no usable key", text: set(`{"kty":"AKP"}`), err: jwk.ErrEmptySet},
		{name: "one ID, two keys", text: set(ec, `{`+rfc8037OKP+`,"kid":"`+ecID+`"}`), err: jwk.ErrAmbiguous},
		{name: "one ID, a key and an unknown one", text: set(ec, `{"kty":"AKP","kid":"`+ecID+`"}`), err: jwk.ErrAmbiguous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := jwk.ParseSet([]byte(tc.text))
			if tc.err != nil {
				if !errors.Is(err, tc.err) {
					t.Errorf("got %v, want %v", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkSet(t, s, tc.ids, tc.skipped)
		})
	}
}

func checkSet(t *testing.T, s *jwk.Set, ids []string, skipped []error) {
	t.Helper()
	if s.Len() != len(ids) || len(s.Skipped()) != len(skipped) {
		t.Fatalf("got %d keys and skipped %v", s.Len(), s.Skipped())
	}
	for i, id := range ids {
		if s.Keys()[i].ID() != id || s.Key(id) == nil {
			t.Errorf("key %d is not %s", i, id)
		}
	}
	for i, want := range skipped {
		if got := s.Skipped()[i].Reason; want != nil && !errors.Is(got, want) {
			t.Errorf("skipped %d: got %v, want %v", i, got, want)
		}
	}
	if s.Key("unknown") != nil {
		t.Error("a key for an unknown ID")
	}
	again, err := jwk.ParseSet(s.AppendJSON(nil))
	if err != nil || again.Len() != s.Len() {
		t.Errorf("written and read again: %v", err)
	}
}

func TestWithIDAndNewSet(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := jwk.New(public)
	if err != nil {
		t.Fatal(err)
	}
	renamed := k.WithID(`old "key"`)
	if renamed.ID() != `old "key"` || k.ID() == renamed.ID() || !renamed.Equal(k) {
		t.Errorf("got %q beside %q", renamed.ID(), k.ID())
	}
	s, err := jwk.NewSet(k, renamed)
	if err != nil || !json.Valid(s.AppendJSON(nil)) {
		t.Errorf("got %s, %v", s.AppendJSON(nil), err)
	}
	if _, err := jwk.NewSet(k, k); !errors.Is(err, jwk.ErrAmbiguous) {
		t.Errorf("twice the same: got %v, want %v", err, jwk.ErrAmbiguous)
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[{` + rfc8037OKP + `,"kid":"` + rfc8037Thumbprint + `"}]}`))
	f.Add([]byte(`{"keys":[{` + rfc7638RSA + `,"kid":"` + rfc7638Thumbprint + `","use":"sig"},{"kty":"oct"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := jwk.ParseSet(data)
		if err != nil {
			return
		}
		again, err := jwk.ParseSet(s.AppendJSON(nil))
		if err != nil || again.Len() != s.Len() || len(again.Skipped()) != 0 {
			t.Errorf("what was accepted does not read back: %v", err)
		}
	})
}

func TestParseForeign(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text, id string
		private        bool
		want           error
	}{
		{"other kid", rfc7515EC + `,"kid":"2024"`, "2024", false, nil},
		{"escaped kid", rfc7515EC + `,"kid":"\u0032024"`, "2024", false, nil},
		{"no kid", rfc8037OKP, rfc8037Thumbprint, false, nil},
		{"empty kid", rfc8037OKP + `,"kid":""`, rfc8037Thumbprint, false, nil},
		{"RSA", rfc7638RSA + `,"kid":"a","alg":"RS256","use":"sig","key_ops":["verify"]`, "a", false, nil},
		{"private", rfc7515EC + `,"kid":"a","d":"AA","key_ops":["sign"]`, "a", true, nil},
		{"private for encryption", rfc7515EC + `,"kid":"a","d":"AA","use":"enc"`, "", true, jwk.ErrNotForVerify},
		{"only signs", rfc7515EC + `,"key_ops":["sign"]`, "", false, jwk.ErrNotForVerify},
		{"symmetric", `"kty":"oct","k":"AAAA","kid":"x"`, "", true, jwk.ErrPrivate},
		{"kid not a string", rfc7515EC + `,"kid":1`, "", false, jwk.ErrMalformed},
		{"member twice", rfc7515EC + `,"kid":"a","kid":"b"`, "", false, ijson.ErrDuplicate},
		{"alg of another key", rfc7515EC + `,"alg":"RS256"`, "", false, jwk.ErrContradiction},
		{"off the curve", strings.Replace(rfc7515EC, "f83O", "f83P", 1), "", false, jwk.ErrPoint},
	} {
		k, private, err := jwk.ParseForeign([]byte(`{` + tc.text + `}`))
		if !errors.Is(err, tc.want) || private != tc.private || (err == nil) != (k != nil) || k != nil && k.ID() != tc.id {
			t.Errorf("%s: got %+v, private %v, error %v", tc.name, k, private, err)
		}
	}
}
