package demo

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"
)

// Base returns the server's URL.
func (d *Demo) Base() string { return d.base }

// APIKey returns the API key that Welcome prints.
func (d *Demo) APIKey() string { return d.secret.Reveal() }

// KeyID returns the ID of the key that signs.
func (d *Demo) KeyID(t testing.TB) string {
	t.Helper()
	key, err := d.ring.SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return key.Public.ID()
}

// ExpiredLink returns a portal link whose session ended an hour ago.
func (d *Demo) ExpiredLink(t testing.TB) string {
	t.Helper()
	key, err := d.ring.SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	input := encode(fmt.Appendf(nil, `{"alg":"ES256","kid":%q,"typ":"customer-session+jwt"}`, key.Public.ID())) + "." +
		encode(fmt.Appendf(nil, `{"iss":%q,"aud":"customer-portal","sub":%q,"sid":%q,"org":%q,"iat":%d,"exp":%d}`,
			d.base, CustomerID, CustomerID, organizationID, now-7200, now-3600))
	signature, err := key.Signer.Sign(t.Context(), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return d.base + portalPath + "?customer_session_token=" + input + "." + encode(signature)
}
