package verifytest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// A judge is a verifier, mostly a bad one.
type judge func(ctx context.Context, token string) error

// caught returns the IDs of the cases that a judge gets wrong.
func caught(t *testing.T, issuer *verifytest.Issuer, verify judge) []string {
	t.Helper()
	c := verifytest.Conformance{Issuer: issuer, Verify: verify}
	var ids []string
	for _, attack := range verifytest.Cases() {
		if c.Check(t.Context(), attack) != nil {
			ids = append(ids, attack.ID)
		}
	}
	return ids
}

func idsOf(verdicts ...verifytest.Verdict) []string {
	var ids []string
	for _, c := range verifytest.Cases() {
		if slices.Contains(verdicts, c.Want) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func TestConformanceCatchesTheSimplest(t *testing.T) {
	t.Parallel()
	issuer := allKeys(t)
	all := idsOf(verifytest.Accept, verifytest.Refuse, verifytest.Either)
	for name, tc := range map[string]struct {
		judge judge
		want  []string
	}{
		"accepts everything": {func(context.Context, string) error { return nil }, idsOf(verifytest.Refuse)},
		"refuses everything": {func(context.Context, string) error { return errors.New("no") }, idsOf(verifytest.Accept)},
		"panics":             {func(context.Context, string) error { panic("index out of range") }, all},
		"cannot tell":        {func(context.Context, string) error { return verify.ErrKeysUnavailable }, all},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := caught(t, issuer, tc.judge); !slices.Equal(got, tc.want) {
				t.Errorf("caught %d cases, want %d", len(got), len(tc.want))
			}
		})
	}
}

// header reads a token's header as carelessly as encoding/json lets one.
func header(token string) (h struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	JWK       json.RawMessage
	JWKSetURL string `json:"jku"`
},
) {
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	_ = json.Unmarshal(text, &h)
	return h
}

// A gullible verifier is golang-jwt with every safe option, and one hole: what
// it does first with a token.
func gullible(issuer *verifytest.Issuer, hole func(token string) (ok bool), options ...jwt.ParserOption) judge {
	options = append(options, jwt.WithIssuer(issuer.URL()), jwt.WithAudience(issuer.Audience()),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithLeeway(30*time.Second),
		jwt.WithValidMethods([]string{"ES256", "EdDSA", "RS256"}))
	parser := jwt.NewParser(options...)
	return func(_ context.Context, token string) error {
		if hole(token) {
			return nil
		}
		_, err := parser.Parse(token, func(parsed *jwt.Token) (any, error) {
			for _, key := range issuer.Keys() {
				if key.ID() == parsed.Header["kid"] && string(key.Algorithm()) == parsed.Method.Alg() {
					return key.Public(), nil
				}
			}
			return nil, errors.New("unknown key")
		})
		return err
	}
}

// verifies tells whether a key of a JWK has signed the token.
func verifies(token string, key *jwk.Key) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	return err == nil && jwt.GetSigningMethod(string(key.Algorithm())).
		Verify(parts[0]+"."+parts[1], signature, key.Public()) == nil
}

func TestConformanceCatchesHoles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hole func(issuer *verifytest.Issuer, token string) bool
		want []string
	}{
		"none of its own": {
			func(*verifytest.Issuer, string) bool { return false },
			[]string{"crit-unknown", "crit-empty", "line-break", "utf8-invalid", "twice-exp-past-first", "typ-access-token"},
		},
		"alg none": {
			func(_ *verifytest.Issuer, token string) bool {
				return strings.EqualFold(header(token).Algorithm, "none")
			},
			[]string{"none", "none-mixed", "none-two-segments", "none-good-signature", "none-escaped"},
		},
		"public key as an HMAC secret": {acceptsHMAC, []string{"hs256-pem", "hmac-under-key-alg"}},
		"key from the header": {
			func(_ *verifytest.Issuer, token string) bool {
				var set *jwk.Set
				if carried := header(token).JWK; carried != nil {
					set, _ = jwk.ParseSet([]byte(`{"keys":[` + string(carried) + `]}`))
				}
				return set != nil && verifies(token, set.Keys()[0])
			},
			[]string{"jwk-attacker", "jwk-attacker-stolen-id", "jwk-attacker-no-id", "jwk-own"},
		},
		"key set from the header": {followsURL, []string{"jku-attacker", "jku-attacker-dots"}},
		"address fetched, and not trusted": {
			func(issuer *verifytest.Issuer, token string) bool { followsURL(issuer, token); return false },
			[]string{"jku-attacker", "jku-attacker-dots"},
		},
		"any key": {
			func(issuer *verifytest.Issuer, token string) bool {
				return slices.ContainsFunc(issuer.Keys(), func(key *jwk.Key) bool { return verifies(token, key) })
			},
			[]string{"second-key-wrong-id", "rs384-on-rs256-key", "iss-other", "aud-other", "exp-hour-ago", "claims-word"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := allKeys(t)
			got := caught(t, issuer, gullible(issuer, func(token string) bool { return tc.hole(issuer, token) }))
			for _, id := range tc.want {
				if !slices.Contains(got, id) {
					t.Errorf("%s was not caught", id)
				}
			}
		})
	}
}

func acceptsHMAC(issuer *verifytest.Issuer, token string) bool {
	at := strings.LastIndexByte(token, '.')
	for _, key := range issuer.Keys() {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return false
		}
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		_, _ = io.WriteString(mac, token[:max(at, 0)])
		if base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) == token[at+1:] {
			return true
		}
	}
	return false
}

func followsURL(issuer *verifytest.Issuer, token string) bool {
	url := header(token).JWKSetURL
	if url == "" {
		return false
	}
	response, err := issuer.Client().Get(url)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return false
	}
	set, err := jwk.ParseSet(body)
	return err == nil && slices.ContainsFunc(set.Keys(), func(key *jwk.Key) bool { return verifies(token, key) })
}

func TestConformanceBoundsTheTime(t *testing.T) {
	t.Parallel()
	issuer := allKeys(t)
	synctest.Test(t, func(t *testing.T) {
		c := verifytest.Conformance{Issuer: issuer, Verify: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		start := time.Now()
		for _, attack := range verifytest.Cases()[:2] {
			if err := c.Check(t.Context(), attack); err == nil {
				t.Errorf("%s: a verifier that never answers was not caught", attack.ID)
			}
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("took %v, want 20 s", took)
		}
	})
}

// A run skips what it was told to, and only that.
func TestConformanceSkips(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	want := 1 // the good token at the end
	for _, c := range verifytest.Cases() {
		if !c.Profile && c.Applies(issuer) && c.ID != "good" {
			want++
		}
	}
	var seen int
	verifytest.Conformance{
		Issuer: issuer, SkipProfile: true, Skip: map[string]string{"good": "seen elsewhere"},
		Verify: func(ctx context.Context, token string) error {
			seen++
			_, err := v.Verify(ctx, token)
			return err
		},
	}.Run(t)
	if seen != want {
		t.Errorf("the verifier saw %d tokens, want %d", seen, want)
	}
}
