package verifytest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

func newVerifier(t *testing.T, issuer *verifytest.Issuer) *verify.Verifier {
	t.Helper()
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestToken(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Algorithms: jwk.Algorithms()})
	v := newVerifier(t, issuer)
	published := issuer.Keys()
	for _, tc := range []struct {
		name string
		spec verifytest.TokenSpec
		want error
	}{
		{"zero value", verifytest.TokenSpec{}, nil},
		{"EdDSA key", verifytest.TokenSpec{KeyID: published[1].ID()}, nil},
		{"RS256 key", verifytest.TokenSpec{KeyID: published[2].ID()}, nil},
		{"another claim", verifytest.TokenSpec{Claims: map[string]any{"jti": "1"}}, nil},
		{"ended", verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}, verify.ErrExpired},
		{"short", verifytest.TokenSpec{IssuedAt: time.Now().Add(-time.Minute), Lifetime: time.Second}, verify.ErrExpired},
		{"another audience", verifytest.TokenSpec{Claims: map[string]any{"aud": "other"}}, verify.ErrAudience},
		{"a claim left out", verifytest.TokenSpec{Claims: map[string]any{"sid": nil}}, verify.ErrClaims},
		{"a claim null", verifytest.TokenSpec{Claims: map[string]any{"sid": json.RawMessage("null")}}, verify.ErrClaims},
		{"another type", verifytest.TokenSpec{Header: map[string]any{"typ": "JWT"}}, verify.ErrType},
		{"a member left out", verifytest.TokenSpec{Header: map[string]any{"typ": nil}}, verify.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			session, err := v.Verify(t.Context(), issuer.Token(tc.spec))
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err == nil && (session.CustomerID != verifytest.CustomerID || session.ID != verifytest.SessionID ||
				session.OrganizationID != verifytest.OrganizationID || session.ReturnURL != verifytest.ReturnURL) {
				t.Errorf("got session %+v", session)
			}
		})
	}
	if _, err := v.Verify(t.Context(), issuer.Sign(`{`, `}`)); !errors.Is(err, verify.ErrMalformed) {
		t.Errorf("got %v, want %v", err, verify.ErrMalformed)
	}
}

func TestKeysGiven(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := verifytest.Config{Keys: []crypto.Signer{private}, Issuer: "https://id.example/tenant", Audience: "shop"}
	issuer, same := verifytest.NewIssuer(t, config), verifytest.NewIssuer(t, config)
	session, err := newVerifier(t, issuer).Verify(t.Context(), same.Token(verifytest.TokenSpec{}))
	if err != nil || session.Issuer != config.Issuer || session.Audience[0] != "shop" {
		t.Errorf("got %+v, %v: an issuer with the same key is another one", session, err)
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]verifytest.Config{
		"unknown algorithm": {Algorithms: []jwk.Algorithm{"HS256"}},
		"slash at the end":  {Issuer: "https://sessions.example.com/"},
		"not a URL":         {Issuer: "http://[::1"},
		"unusable key":      {Keys: []crypto.Signer{p384}},
		"keys twice":        {Keys: []crypto.Signer{p384}, Algorithms: []jwk.Algorithm{jwk.ES256}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "verifytest: Config.") &&
					!strings.HasPrefix(text, "verifytest: Config has") {
					t.Errorf("got %q, want a panic about the config", text)
				}
			}()
			verifytest.NewIssuer(nil, config)
		})
	}
}

// A key's life as a verifier sees it, in faked time.
func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v := newVerifier(t, issuer)
		check := func(step string, keyID string, want error) {
			t.Helper()
			_, err := v.Verify(t.Context(), issuer.Token(verifytest.TokenSpec{KeyID: keyID}))
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", step, err, want)
			}
		}
		first := issuer.KeyID()
		check("at first", first, nil)
		second := issuer.Publish(jwk.ES256)
		if issuer.KeyID() != first {
			t.Error("a published key signs before it was activated")
		}
		time.Sleep(time.Minute)
		check("published", second, nil)
		issuer.Activate(second)
		check("activated", "", nil)
		check("retired", first, nil)
		issuer.Remove(first)
		time.Sleep(2 * time.Hour)
		check("still active", second, nil)
		check("removed", first, verify.ErrUnknownKey)
	})
}

func TestUnknownKeyPanics(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	for name, f := range map[string]func(){
		"Activate": func() { issuer.Activate("x") },
		"Remove":   func() { issuer.Remove("x") },
		"Token":    func() { issuer.Token(verifytest.TokenSpec{KeyID: "x"}) },
		"Publish":  func() { issuer.Publish("none") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			f()
		})
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Issuer: "https://id.example/tenant", MaxAge: time.Minute})
	do := func(path, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		issuer.Handler().ServeHTTP(w, r)
		return w
	}
	w := do("/tenant/.well-known/jwks.json", "")
	etag := w.Header().Get("ETag")
	if w.Code != 200 || w.Header().Get("Content-Type") != jwk.MediaType || etag == "" ||
		w.Header().Get("Cache-Control") != "public, max-age=60" || w.Body.String() != string(issuer.JWKSet()) {
		t.Errorf("got %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	if w := do("/tenant/.well-known/jwks.json", etag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("with the ETag: got %d, %s", w.Code, w.Body)
	}
	issuer.Publish(jwk.EdDSA)
	if w := do("/tenant/.well-known/jwks.json", etag); w.Code != 200 || w.Header().Get("ETag") == etag {
		t.Errorf("with the ETag of an older set: got %d", w.Code)
	}
	var discovery struct {
		Issuer    string `json:"issuer"`
		JWKSetURL string `json:"jwks_uri"`
	}
	w = do("/tenant/.well-known/openid-configuration", "")
	if err := json.Unmarshal(w.Body.Bytes(), &discovery); err != nil || discovery.Issuer != issuer.URL() ||
		discovery.JWKSetURL != "https://id.example/tenant/.well-known/jwks.json" {
		t.Errorf("got %s, %v", w.Body, err)
	}
	if w := do("/tenant/other", ""); w.Code != http.StatusNotFound {
		t.Errorf("another path: got %d", w.Code)
	}
	if n := issuer.Requests(); n != 3 {
		t.Errorf("counted %d requests for the set, want 3", n)
	}
}

// get fetches the set as a careless client would: it follows redirects, looks
// at no status and reads to the end.
func get(ctx context.Context, client *http.Client, url string) (set *jwk.Set, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return jwk.ParseSet(body)
}

func TestFail(t *testing.T) {
	t.Parallel()
	// Whether the careless client gets keys, and the careful one keeps its own.
	for name, tc := range map[string]struct {
		failure verifytest.Failure
		want    error
	}{
		"healthy":      {verifytest.Healthy, nil},
		"down":         {verifytest.Down, syscall.ECONNREFUSED},
		"hang":         {verifytest.Hang, context.DeadlineExceeded},
		"server error": {verifytest.ServerError, nil},
		"redirect":     {verifytest.Redirect, nil},
		"slow":         {verifytest.Slow, context.DeadlineExceeded},
		"huge":         {verifytest.Huge, nil},
		"truncated":    {verifytest.Truncated, jwk.ErrNotASet},
		"ambiguous":    {verifytest.Ambiguous, jwk.ErrAmbiguous},
		"garbage":      {verifytest.Garbage, jwk.ErrNotASet},
		"empty":        {verifytest.Empty, jwk.ErrEmptySet},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{MaxAge: time.Minute})
				v, kept := newVerifier(t, issuer), issuer.KeyID()
				token := issuer.Token(verifytest.TokenSpec{})
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
				issuer.Fail(tc.failure)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				set, err := get(ctx, issuer.Client(), issuer.JWKSetURL())
				if !errors.Is(err, tc.want) || err == nil && set.Key(kept) == nil {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				fresh := issuer.Publish(jwk.ES256)
				time.Sleep(10 * time.Minute)
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Errorf("the verifier did not keep its keys: %v", err)
				}
				_, err = v.Verify(t.Context(), issuer.Token(verifytest.TokenSpec{KeyID: fresh}))
				if failed := tc.failure != verifytest.Healthy; errors.Is(err, verify.ErrKeysUnavailable) != failed {
					t.Errorf("with a key that the verifier does not have: got %v", err)
				}
				issuer.Fail(verifytest.Healthy)
				time.Sleep(10 * time.Minute)
				_, _ = v.Verify(t.Context(), token)
				synctest.Wait()
				if _, err := v.Verify(t.Context(), issuer.Token(verifytest.TokenSpec{KeyID: fresh})); err != nil {
					t.Errorf("after the failure: %v", err)
				}
			})
		})
	}
}

func TestClientReachesNothingElse(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	for _, url := range []string{"https://evil.example/.well-known/jwks.json", "http://sessions.example.com/.well-known/jwks.json"} {
		if response, err := issuer.Client().Get(url); err == nil {
			response.Body.Close()
			t.Errorf("got an answer from %s", url)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Loopback: true})
	if !strings.HasPrefix(issuer.URL(), "http://127.0.0.1:") || !strings.HasPrefix(issuer.JWKSetURL(), issuer.URL()) {
		t.Errorf("got %s and %s", issuer.URL(), issuer.JWKSetURL())
	}
	// The way of a verifier that knows nothing but the issuer's URL.
	v, err := verify.New(verify.Config{Issuer: issuer.URL(), Audience: issuer.Audience()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	if _, err := v.Verify(t.Context(), issuer.Token(verifytest.TokenSpec{})); err != nil {
		t.Error(err)
	}
	named := verifytest.NewIssuer(t, verifytest.Config{Issuer: "https://id.example/tenant", Loopback: true})
	if _, err := newVerifier(t, named).Verify(t.Context(), named.Token(verifytest.TokenSpec{})); err != nil {
		t.Errorf("with a name of its own: %v", err)
	}
	named.Fail(verifytest.Down)
	if _, err := get(t.Context(), http.DefaultClient, named.JWKSetURL()); err == nil {
		t.Error("got an answer from an issuer that is down")
	}
}

func TestConformanceIssuerStays(t *testing.T) {
	t.Parallel()
	a, b := verifytest.ConformanceIssuer(t), verifytest.ConformanceIssuer(t)
	if string(a.JWKSet()) != string(b.JWKSet()) {
		t.Error("got two sets of keys")
	}
	compareGolden(t, "testdata/conformance-jwks.golden", string(a.JWKSet())+"\n")
}
