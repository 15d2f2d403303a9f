package issuer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// The token holds what a consumer needs and nothing else, whatever it is
// signed with.
func TestToken(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.ring = ringOf(t, newManifest(t, algorithm), nil) })
			session := f.create(t, `{"customer_id":"`+customerID+`","return_url":"https://shop.example.com/?a=\"b\"&c"}`)
			token := session.text(t, "token")

			key := f.publishedKey(t)
			wantHeader := map[string]any{"alg": string(algorithm), "kid": key.Thumbprint(), "typ": "customer-session+jwt"}
			if got := segment(t, token, 0); !reflect.DeepEqual(got, wantHeader) {
				t.Errorf("the header is %v, want %v", got, wantHeader)
			}
			issuedAt := instant(t, session.text(t, "created_at")).Unix()
			wantClaims := map[string]any{
				"iss": f.base, "aud": "customer-portal", "sub": customerID, "sid": session.text(t, "id"), "org": orgID,
				"iat": json.Number(strconv.FormatInt(issuedAt, 10)), "exp": json.Number(strconv.FormatInt(issuedAt+3600, 10)),
				"return_url": session.text(t, "return_url"), "scope": "customer_portal:write",
				"client_id": clientID(f.secret),
			}
			if got := claims(t, token); !reflect.DeepEqual(got, wantClaims) {
				t.Errorf("the claims are %v, want %v", got, wantClaims)
			}
			if _, ok := claims(t, f.createAny(t).text(t, "token"))["return_url"]; ok {
				t.Error("a session without return_url has the claim nevertheless")
			}
		})
	}
}

// clientID is the client_id of a session that the API key with this secret
// created.
func clientID(secret string) string {
	hash := sha256.Sum256([]byte(secret))
	sum := sha256.Sum256([]byte("customersession client_id\x00" + string(hash[:])))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:8]
}

// publishedKey reads the first key of the JWK Set: the one that signs.
func (f *fixture) publishedKey(t testing.TB) *jwk.Key {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(f.do(t, http.MethodGet, "/.well-known/jwks.json", "").body, &set); err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Parse(set.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A portal keeps the token in a cookie, of which browsers take 4096 bytes with
// its name.
func TestTokenFitsCookie(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) {
		o.ring = ringOf(t, newManifest(t, jwk.RS256), nil)
		o.change = func(c *issuer.Config) {
			c.Issuer += "/" + strings.Repeat("a", 200)
			c.Audience = strings.Repeat("a", wire.MaxStringLength)
		}
	})
	const host = "https://shop.example.com/"
	create := func(length int) *answer {
		return f.post(t, f.secret, `{"customer_id":"`+customerID+`","return_url":"`+host+strings.Repeat("a", length-len(host))+`"}`)
	}
	tooLong := len(host) + sort.Search(wire.MaxReturnURLLength-len(host), func(i int) bool {
		return create(len(host)+i).status != http.StatusCreated
	})
	if tooLong >= wire.MaxReturnURLLength {
		t.Fatal("the longest return URL fits; the test needs a longer token")
	}
	cookie := len("__Host-customer_session") + len(create(tooLong-1).text(t, "token"))
	if cookie > 4096 || cookie < 4095 {
		t.Errorf("the longest cookie has %d bytes, want 4095 or 4096", cookie)
	}
	checkRefusal(t, create(tooLong), http.StatusUnprocessableEntity, `{"error":"PolarRequestValidationError","detail":[{"type":"value_error",
		"loc":["body","return_url"],"msg":"The token would not fit a cookie with this URL; use a shorter one."}]}`, "")
}

// A consumer that knows only the issuer's URL verifies what it issues.
func TestTokenVerifies(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) {
				o.ring = ringOf(t, newManifest(t, algorithm), nil)
				o.change = func(c *issuer.Config) { c.Audience = "shop" }
			})
			// The longest return URL still makes a token that is not too long.
			longest := "https://shop.example.com/" + strings.Repeat("a", wire.MaxReturnURLLength-25)
			session := f.create(t, `{"customer_id":"`+customerID+`","return_url":"`+longest+`"}`)
			token := session.text(t, "token")
			verifier, err := verify.New(verify.Config{Issuer: f.base, Audience: "shop", Algorithms: []jwk.Algorithm{algorithm}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			issuedAt := instant(t, session.text(t, "created_at"))
			want := verify.Session{
				ID: session.text(t, "id"), CustomerID: customerID, OrganizationID: orgID, Issuer: f.base, Audience: []string{"shop"},
				IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(time.Hour), KeyID: f.publishedKey(t).ID(), ReturnURL: longest,
				Scopes: []string{"customer_portal:write"},
			}
			if len(got.ClientID) != 8 {
				t.Errorf("the client ID is %q, want 8 characters", got.ClientID)
			}
			want.ClientID = got.ClientID
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the session is %+v, want %+v", got, want)
			}
			header, rest, _ := strings.Cut(token, ".")
			if _, err := verifier.Verify(t.Context(), header+"."+flip(rest)); !errors.Is(err, verify.ErrSignature) {
				t.Errorf("with one character changed: got %v, want %v", err, verify.ErrSignature)
			}
		})
	}
}

// Replicas need not talk to each other: one accepts what the other issued.
func TestTokenOfAnotherReplica(t *testing.T) {
	t.Parallel()
	first := newFixture(t)
	second := newFixture(t, func(o *fixtureOptions) {
		o.ring = first.ring
		o.change = func(c *issuer.Config) { c.Issuer = first.base }
	})
	a := second.portal(t, "introspect", first.createAny(t).text(t, "token"))
	if a.status != http.StatusOK {
		t.Errorf("got %d %s, want 200", a.status, a.body)
	}
}

// No personal data: whoever sees a token learns no name and no address.
func TestTokenHoldsNoPersonalData(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.create(t, `{"external_customer_id":"full"}`).text(t, "token")
	allowed := []string{"aud", "client_id", "exp", "iat", "iss", "org", "scope", "sid", "sub"}
	if got := names(claims(t, token)); !slices.Equal(got, allowed) {
		t.Errorf("the claims are %q, want %q", got, allowed)
	}
}
