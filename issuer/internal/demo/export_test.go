package demo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/verify"
)

// Base returns the server's URL.
func (d *Demo) Base() string { return d.base }

// APIKey returns the API key that Welcome prints.
func (d *Demo) APIKey() string { return d.secret.Reveal() }

// CodesAPIKey returns an API key of the organization whose links hold a code.
func (d *Demo) CodesAPIKey() string { return d.codesSecret.Reveal() }

// Portal starts another portal of the demo, for which the issuer's addresses that
// begin with dead do not answer, and returns its URL. Below /state/ it shows each page
// of sign-in.
func (d *Demo) Portal(t testing.TB, dead string) string {
	t.Helper()
	pages, err := newPages(d.base)
	if err != nil {
		t.Fatal(err)
	}
	config := portalConfig{
		Issuer: d.base, Customers: d.shop.customers, Pages: pages, SendLink: d.shop.sendLink,
		Client: &http.Client{Transport: outage{dead}, Timeout: 5 * time.Second},
	}
	handler, verifier, err := newPortal(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("/state/{state}", func(w http.ResponseWriter, r *http.Request) {
		page := verify.SignInPage{State: verify.SignInState(r.PathValue("state")), Button: r.FormValue("button"), Fields: map[string]string{"a": "b"}}
		page.Err = map[string]error{
			"navigation": verify.ErrNotNavigation, "http": verify.ErrPlainHTTP, "size": verify.ErrCookieSize, "origin": verify.ErrCrossOrigin,
		}[r.FormValue("err")]
		(&portal{config, verifier}).signInPage(w, r, page)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// An outage is a transport on which some addresses do not answer.
type outage struct{ dead string }

func (o outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, o.dead) {
		return nil, errors.New("connection refused")
	}
	return http.DefaultTransport.RoundTrip(r)
}

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
