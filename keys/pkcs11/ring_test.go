//go:build pkcs11

package pkcs11_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

const issuer = "https://sessions.example.com"

// TestSoftHSMManifest: a manifest refers to the device, and a consumer accepts
// what that signed.
func TestSoftHSMManifest(t *testing.T) {
	t.Parallel()
	h := useSoftHSM(t)
	d := h.open(t, 4)
	for name, algorithm := range map[string]jwk.Algorithm{"es": jwk.ES256, "rs": jwk.RS256, "ed": jwk.EdDSA} {
		uri := "pkcs11:token=sessions;object=" + name
		public, err := d.Public(t.Context(), uri)
		must(t, err)
		policy := keys.DefaultPolicy()
		policy.Algorithm = algorithm
		m, err := keys.Init(policy, time.Now(), true)
		must(t, err)
		m.Keys[0].Public, m.Keys[0].Private, m.Keys[0].Signer = public, nil, uri
		ring, err := keys.NewRing(m, d.Open)
		must(t, err)
		key, err := ring.SigningKey(time.Now())
		must(t, err)
		if key.Public.ID() != public.ID() {
			t.Fatalf("got key %s, want that of the device, %s", key.Public.ID(), public.ID())
		}
		v, err := verify.New(verify.Config{
			Issuer: issuer, Audience: "customer-portal", Algorithms: jwk.Algorithms(),
			HTTPClient:       &http.Client{Transport: inProcess{keys.NewHandler(func() *keys.Ring { return ring })}},
			MaxRevocationAge: -1, // there is no feed beside these keys
		})
		must(t, err)
		t.Cleanup(v.Close)
		session, err := v.Verify(t.Context(), token(t, key))
		if err != nil || session.KeyID != public.ID() {
			t.Errorf("%s: got %+v, %v", algorithm, session, err)
		}
		for i := range byte(32) {
			signature, err := key.Signer.Sign(t.Context(), []byte{i})
			must(t, err)
			if algorithm == jwk.ES256 && !jwk.IsLowS(signature) {
				t.Errorf("signature %x is high-S", signature)
			}
		}
		// The other key of the manifest is not in the device.
		m.Keys[0].Public = m.Keys[1].Public
		m.Keys = m.Keys[:1]
		_, err = keys.NewRing(m, d.Open)
		mustFail(t, err, "opening the signer of key")
		mustFail(t, err, "is not that of the public key in the manifest")
	}
}

func token(t *testing.T, key *keys.SigningKey) string {
	t.Helper()
	now := time.Now().Unix()
	header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, key.Public.Algorithm(), key.Public.ID(), wire.TokenType)
	claims := fmt.Sprintf(`{%q:%q,%q:"customer-portal",%q:"992fae2a-2a17-4b7a-8d9e-e287cf90131b",`+
		`%q:"6b4ff5d8-8b3f-4a4c-9a1c-3c8f3a6f9a10",%q:"1dbfc517-0bbf-4301-9ba8-555ca42b9737",%q:%d,%q:%d,%q:%q}`,
		wire.ClaimIssuer, issuer, wire.ClaimAudience, wire.ClaimCustomerID, wire.ClaimSessionID,
		wire.ClaimOrganizationID, wire.ClaimIssuedAt, now, wire.ClaimExpiresAt, now+600, wire.ClaimScope, wire.Scope)
	base64url := base64.RawURLEncoding
	signingInput := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(claims))
	signature, err := key.Signer.Sign(t.Context(), []byte(signingInput))
	must(t, err)
	return signingInput + "." + base64url.EncodeToString(signature)
}

// inProcess is a network with one handler in it.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}
