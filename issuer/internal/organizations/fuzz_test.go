package organizations_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

// FuzzParse checks that no file makes Parse panic, and that whatever it accepts
// can be used: links lead to the portal with the token, and no key opens to a
// secret that was not put in.
func FuzzParse(f *testing.F) {
	f.Add([]byte(file(acme())))
	f.Add([]byte(file(acme(key("a", hashA, `,"expires_at":"2027-01-01T00:00:00Z"`), key("b", hashB, `,"expires_at":null`)))))
	f.Add([]byte(file(`{"id":"` + idB + `","slug":"b-2","portal_url":"http://localhost:1/{?slug}#{organization_id}","email_in_link":true}`)))
	f.Add([]byte(file(`{"id":"` + idB + `","slug":"b","portal_url":"https://{slug:1}.example.com/{+slug}/{;slug}{&slug*}?a=%20b"}`)))
	f.Add([]byte(file(`{"id":"` + idB + `","slug":"b","portal_url":"https://a.example","support_url":"https://b.example","recovery":{"webhook_url":"https://c.example/?d","secret_file":"e","max_age":"1h30m"}}`)))
	f.Add([]byte(`{"organizations":[{"slug":"a","slug":"b"}]} {}`))
	f.Add([]byte("{\"organizations\":[\n\"\\ud800\"]}"))
	secret := organizations.GenerateSecret().Reveal()
	f.Fuzz(func(t *testing.T, data []byte) {
		registry, err := organizations.Parse(bytes.NewReader(data))
		if err != nil {
			if registry != nil {
				t.Error("a registry beside an error")
			}
			return
		}
		const token = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln-_"
		for organization := range registry.Organizations() {
			checkLink(t, organization.PortalLink(token, "a+b&c@example.com"), token)
			if r := organization.Recovery; r != nil && (r.WebhookURL == "" || r.SecretFile == "" || r.MaxAge <= 0 || r.MaxAge > 720*time.Hour) {
				t.Errorf("recovery of organization %q: %+v", organization.Slug, r)
			}
			for key := range organization.APIKeys() {
				if key.Name == "" || key.Organization != organization {
					t.Errorf("key %q of organization %q", key.Name, organization.Slug)
				}
			}
		}
		if _, err := registry.Authenticate(secret, time.Now()); !errors.Is(err, organizations.ErrUnknownKey) {
			t.Errorf("an unknown secret: got %v", err)
		}
	})
}
