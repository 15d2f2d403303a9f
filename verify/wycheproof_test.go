package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// The files of testdata/wycheproof.
type (
	wycheproofFile struct {
		NumberOfTests int
		TestGroups    []wycheproofGroup
	}
	wycheproofGroup struct {
		Comment string
		// Private and Public are a JWK, or a JWK Set. There is no public one
		// for a secret.
		Private, Public json.RawMessage
		Tests           []wycheproofCase
	}
	wycheproofCase struct {
		ID      int `json:"tcId"`
		Comment string
		JWS     any
		Result  string
	}
)

func readWycheproof(t *testing.T, name string) wycheproofFile {
	t.Helper()
	text, err := os.ReadFile("testdata/wycheproof/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// key returns the group's JWK, or JWK Set, as a verifier would get it.
func (g wycheproofGroup) key() json.RawMessage {
	if g.Public != nil {
		return g.Public
	}
	return g.Private
}

// token returns the text of the case, which may be JSON serialization.
func (c wycheproofCase) token() string {
	if text, ok := c.JWS.(string); ok {
		return text
	}
	text, err := json.Marshal(c.JWS)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// renamed gives a JWK the key ID that we ask for, its thumbprint, and returns
// it with the ID it had. Wycheproof's have names like "kid-ec-sign". A JWK of
// a kind that has no such ID stays as it is.
func renamed(t *testing.T, text json.RawMessage) (again json.RawMessage, old string) {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	old, _ = members["kid"].(string)
	var required string
	switch members["kty"] {
	case "EC":
		required = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, members["crv"], members["x"], members["y"])
	case "RSA":
		required = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, members["e"], members["n"])
	default:
		return text, old
	}
	sum := sha256.Sum256([]byte(required))
	members["kid"] = base64.RawURLEncoding.EncodeToString(sum[:])
	again, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return again, old
}

// headerOf reads what a token says about its key; it is the part of our header
// that other people's tokens have, too.
func headerOf(token string) (h struct {
	Algorithm jwk.Algorithm `json:"alg"`
	KeyID     string        `json:"kid"`
	JWK       any           `json:"jwk"`
},
) {
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	_ = json.Unmarshal(text, &h)
	return h
}

// anyKey is a source that has one key for every ID.
type anyKey struct{ key *jwk.Key }

func (k anyKey) Key(context.Context, string) (*jwk.Key, error) {
	if k.key == nil {
		return nil, verify.ErrUnknownKey
	}
	return k.key, nil
}

// verdicts counts what a run over a file showed. Every case is right, or an
// exception with its reason.
type verdicts struct{ right, exceptions int }

func (v *verdicts) judge(t *testing.T, c wycheproofCase, err error, reasons map[int]string) {
	t.Helper()
	right := (err == nil) == (c.Result == "valid")
	switch reason := reasons[c.ID]; {
	case right && reason == "":
		v.right++
	case !right && reason != "":
		v.exceptions++
	case right:
		t.Errorf("case %d, %s: right, but listed as an exception: %s", c.ID, c.Comment, reason)
	default:
		t.Errorf("case %d, %s: got %v, want %s", c.ID, c.Comment, err, c.Result)
	}
}

// total reports cases that were not judged.
func (v *verdicts) total(t *testing.T, file wycheproofFile, reasons map[int]string) {
	t.Helper()
	if v.right+v.exceptions != file.NumberOfTests || v.exceptions != len(reasons) {
		t.Errorf("%d cases are right and %d exceptions, of %d cases and %d exceptions",
			v.right, v.exceptions, file.NumberOfTests, len(reasons))
	}
}

// exceptions turns a list of reasons around.
func exceptions(t *testing.T, ranges map[string][][2]int) map[int]string {
	t.Helper()
	reasons := map[int]string{}
	for reason, list := range ranges {
		for _, r := range list {
			for id := r[0]; id <= r[1]; id++ {
				if reasons[id] != "" {
					t.Errorf("case %d is an exception twice", id)
				}
				reasons[id] = reason
			}
		}
	}
	return reasons
}

func newVerifierOf(t *testing.T, key *jwk.Key) *verify.Verifier {
	t.Helper()
	v := newVerifier(t, anyKey{key}, jwk.Algorithms()...)
	t.Cleanup(v.Close)
	return v
}

// judgeJWS checks a token the way Verify does, but for what only our tokens
// have: the key, the algorithm, no key in the header, the signature.
func judgeJWS(t *testing.T, token string, key *jwk.Key) error {
	t.Helper()
	h := headerOf(token)
	switch {
	case h.Algorithm != key.Algorithm():
		return verify.ErrAlgorithm
	case h.JWK != nil:
		return verify.ErrMalformed
	}
	return newVerifierOf(t, key).CheckSignature(token, key)
}

func TestWycheproofSignatures(t *testing.T) {
	t.Parallel()
	reasons := exceptions(t, map[string][][2]int{
		"a secret is no public key; this package verifies no HMAC": {
			{1, 1}, {348, 348}, {352, 352}, {357, 359}, {372, 373}, {376, 377},
		},
		"RS384, RS512, PS256, PS384, PS512 and ES512 are not in our closed list of algorithms": {
			{264, 275}, {287, 288}, {320, 323}, {325, 328}, {346, 347}, {350, 351},
		},
		"s is above n/2: a token has one spelling":                                          {{18, 18}},
		"a payload of no octets is no claims set; the form is refused before the signature": {{259, 259}},
	})
	file := readWycheproof(t, "json_web_signature.json")
	var got verdicts
	for _, group := range file.TestGroups {
		text, _ := renamed(t, group.key())
		key, keyErr := jwk.Parse(text)
		v := newVerifierOf(t, key)
		for _, c := range group.Tests {
			err := keyErr
			if err == nil {
				err = judgeJWS(t, c.token(), key)
			}
			got.judge(t, c, err, reasons)
			// None of them is a session, whatever its signature is.
			if session, err := v.Verify(t.Context(), c.token()); err == nil || session.ID != "" {
				t.Errorf("case %d, %s: taken for a session", c.ID, c.Comment)
			}
		}
	}
	got.total(t, file, reasons)
}

// renamedSet renames every key of a JWK Set. It returns the new IDs by the old
// ones, and why the last key is not used.
func renamedSet(t *testing.T, text json.RawMessage) (again json.RawMessage, ids map[string]string, last error) {
	t.Helper()
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	ids = map[string]string{}
	for i, key := range document.Keys {
		var members struct{ Kid string }
		var old string
		document.Keys[i], old = renamed(t, key)
		if err := json.Unmarshal(document.Keys[i], &members); err != nil {
			t.Fatal(err)
		}
		ids[old] = members.Kid
		_, last = jwk.Parse(document.Keys[i])
	}
	again, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return again, ids, last
}

func TestWycheproofKeys(t *testing.T) {
	t.Parallel()
	reasons := exceptions(t, map[string][][2]int{
		"a secret is no public key; this package verifies no HMAC": {{2, 2}, {13, 15}},
		"moduli of the ROCA kind (CVE-2017-15361) are not looked for: keys come from the one issuer " +
			"that is trusted, and not from the smart cards that made such keys": {{7, 7}},
	})
	// Why the last key of the set is not used; ErrPrivate where nothing is said.
	why := map[int]error{
		1: nil, 5: nil, 7: nil,
		6:  jwk.ErrNotForVerify,
		8:  jwk.ErrRSA,
		9:  jwk.ErrRSA,
		19: jwk.ErrUnsupported,
		20: jwk.ErrUnsupported,
		21: jwk.ErrNotForVerify,
		22: jwk.ErrPoint,
		23: jwk.ErrUnsupported,
		24: jwk.ErrMalformed,
	}
	file := readWycheproof(t, "json_web_key.json")
	var got verdicts
	for _, group := range file.TestGroups {
		if _, err := jwk.ParseSet(group.key()); err == nil {
			t.Errorf("%s: keys that are not named by their thumbprint are used", group.Comment)
		}
		text, ids, last := renamedSet(t, group.key())
		set, setErr := jwk.ParseSet(text)
		for _, c := range group.Tests {
			want, listed := why[c.ID]
			if !listed {
				want = jwk.ErrPrivate
			}
			if !errors.Is(last, want) {
				t.Errorf("case %d, %s: got %v, want %v", c.ID, c.Comment, last, want)
			}
			err := setErr
			if err == nil {
				err = verify.ErrUnknownKey
				if key := set.Key(ids[headerOf(c.token()).KeyID]); key != nil {
					err = judgeJWS(t, c.token(), key)
				}
			}
			got.judge(t, c, err, reasons)
			if c.Comment == "rejectsDuplicateKid" && !errors.Is(setErr, jwk.ErrAmbiguous) {
				t.Errorf("case %d, %s: got %v, want %v", c.ID, c.Comment, setErr, jwk.ErrAmbiguous)
			}
		}
	}
	got.total(t, file, reasons)
}
