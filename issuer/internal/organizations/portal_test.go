package organizations_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

// withPortal parses a file whose one organization has this portal URL.
func withPortal(tb testing.TB, template, emailInLink string) (*organizations.Organization, error) {
	tb.Helper()
	registry, err := organizations.Parse(strings.NewReader(file(
		`{"id":"` + idA + `","slug":"acme","portal_url":"` + template + `","email_in_link":` + emailInLink + `}`)))
	if err != nil {
		return nil, err
	}
	for organization := range registry.Organizations() {
		return organization, nil
	}
	tb.Fatal("no organization")
	return nil, nil
}

func TestPortalLink(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_"
	tests := []struct{ name, template, emailInLink, email, want string }{
		{"path", "https://portal.example.com/{slug}/portal", "false", "a@example.com", "https://portal.example.com/acme/portal?customer_session_token=" + token},
		{"organization ID", "https://example.com/{organization_id}", "false", "", "https://example.com/" + idA + "?customer_session_token=" + token},
		{"host", "https://{slug}.example.com/", "false", "", "https://acme.example.com/?customer_session_token=" + token},
		{"bare host", "https://example.com", "false", "", "https://example.com/?customer_session_token=" + token},
		{"no variable", "https://example.com/a/", "false", "", "https://example.com/a/?customer_session_token=" + token},
		{"query", "https://example.com/?a=b", "false", "", "https://example.com/?a=b&customer_session_token=" + token},
		{"query from the template", "https://example.com/{?slug}", "false", "", "https://example.com/?slug=acme&customer_session_token=" + token},
		{"empty query", "https://example.com/?", "false", "", "https://example.com/?customer_session_token=" + token},
		{"ampersand at the end", "https://example.com/?a=b&", "false", "", "https://example.com/?a=b&customer_session_token=" + token},
		{"fragment", "https://example.com/#/{slug}", "false", "", "https://example.com/?customer_session_token=" + token + "#/acme"},
		{"empty fragment", "https://example.com/#", "false", "", "https://example.com/?customer_session_token=" + token},
		{"query and fragment", "https://example.com/?a=b#c%20d", "true", "x@y.example", "https://example.com/?a=b&customer_session_token=" + token + "&email=x%40y.example#c%20d"},
		{"reserved expansion", "https://example.com/{+slug}", "false", "", "https://example.com/acme?customer_session_token=" + token},
		{"e-mail", "https://example.com/", "true", "ü+b&c=d#e@example.com", "https://example.com/?customer_session_token=" + token + "&email=%C3%BC%2Bb%26c%3Dd%23e%40example.com"},
		{"no e-mail", "https://example.com/", "true", "", "https://example.com/?customer_session_token=" + token},
		{"e-mail in the query, switched off", "https://example.com/?email=1", "false", "a@b.example", "https://example.com/?email=1&customer_session_token=" + token},
		{"port", "https://example.com:8443/p", "false", "", "https://example.com:8443/p?customer_session_token=" + token},
		{"escaped path", "https://example.com/a%2Fb/%C3%BC", "false", "", "https://example.com/a%2Fb/%C3%BC?customer_session_token=" + token},
		{"loopback name", "http://localhost:8080/", "false", "", "http://localhost:8080/?customer_session_token=" + token},
		{"loopback subdomain", "http://{slug}.localhost/", "false", "", "http://acme.localhost/?customer_session_token=" + token},
		{"loopback IPv4", "http://127.0.0.2:1/", "false", "", "http://127.0.0.2:1/?customer_session_token=" + token},
		{"loopback IPv6", "http://[::1]:1/", "false", "", "http://[::1]:1/?customer_session_token=" + token},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			organization, err := withPortal(t, test.template, test.emailInLink)
			if err != nil {
				t.Fatal(err)
			}
			got := organization.PortalLink(token, test.email)
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			checkLink(t, got, token)
		})
	}
}

// The setting link says what a link holds. Without either, the address is that of
// the portal.
func TestLinkHoldsCode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		link       string
		parameter  string
		holdsCodes bool
	}{
		{`null`, "customer_session_token", false},
		{`"token"`, "customer_session_token", false},
		{`"code"`, "customer_session_code", true},
	} {
		registry, err := organizations.Parse(strings.NewReader(file(
			`{"id":"` + idA + `","slug":"acme","portal_url":"https://example.com/{slug}?a=b#c","email_in_link":true,"link":` + test.link + `}`)))
		if err != nil {
			t.Fatal(err)
		}
		for o := range registry.Organizations() {
			if got, want := o.PortalLink("CREDENTIAL", "x@y.example"),
				"https://example.com/acme?a=b&"+test.parameter+"=CREDENTIAL&email=x%40y.example#c"; got != want {
				t.Errorf("link %s: got %s, want %s", test.link, got, want)
			}
			if got, want := o.PortalURL(), "https://example.com/acme?a=b#c"; got != want {
				t.Errorf("link %s: the portal is %s, want %s", test.link, got, want)
			}
			if o.LinksHoldCodes() != test.holdsCodes {
				t.Errorf("link %s: it holds codes: %v", test.link, o.LinksHoldCodes())
			}
		}
	}
}

// checkLink checks what holds for every link, also after a client has added a
// query parameter to it.
func checkLink(t *testing.T, link, token string) {
	t.Helper()
	parsed, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.IsAbs() || parsed.Host == "" {
		t.Errorf("%s is not absolute", link)
	}
	query := parsed.Query()
	if got := query["customer_session_token"]; len(got) != 1 || got[0] != token {
		t.Errorf("token parameters: got %q, want %q once", got, token)
	}
	query.Set("theme", "dark mode")
	parsed.RawQuery = query.Encode()
	again, err := url.Parse(parsed.String())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Query().Get("customer_session_token"); got != token {
		t.Errorf("after adding a parameter: got the token %q, want %q", got, token)
	}
	if parsed.Fragment == "" {
		appended, err := url.Parse(link + "&theme=dark")
		if err != nil || appended.Query().Get("theme") != "dark" ||
			appended.Query().Get("customer_session_token") != token {
			t.Errorf("after appending a parameter: %v, %v", appended, err)
		}
	}
}

func TestPortalURLRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, template, emailInLink, want string }{
		{"empty", "", "false", "must be an absolute URL"},
		{"path alone", "/{slug}", "false", "must be an absolute URL"},
		{"no scheme", "portal.example.com", "false", "must be an absolute URL"},
		{"no host", "https:///{slug}", "false", "must be an absolute URL"},
		{"port alone", "https://:443/", "false", "must be an absolute URL"},
		{"opaque", "https:example.com", "false", "must be an absolute URL"},
		{"other scheme", "ftp://example.com", "false", "must be an absolute URL"},
		{"script", "javascript:alert(1)", "false", "must be an absolute URL"},
		{"http", "http://example.com", "false", "must be https"},
		{"http on a private address", "http://192.168.1.1", "false", "must be https"},
		{"http on a host that only begins like loopback", "http://127.0.0.1.example.com", "false", "must be https"},
		{"http on a host that only ends like loopback", "http://evil-localhost", "false", "must be https"},
		{"password", "https://user:pass@example.com", "false", "must not hold a user name"},
		{"unclosed brace", "https://example.com/{slug", "false", "is not a URI template"},
		{"space", "https://example.com/a b", "false", "is not a URI template (RFC 6570): unacceptable character"},
		{"lone brace", "https://example.com/slug}", "false", "is not a URI template"},
		{"unknown variable", "https://example.com/{customer}", "false", `unknown variable "customer"`},
		{"unknown variable beside a known one", "https://example.com/{slug,email}", "false", `unknown variable "email"`},
		{"variable in upper case", "https://example.com/{Slug}", "false", `unknown variable "Slug"`},
		{"bad port", "https://example.com:port/", "false", "is not a URL"},
		{"unclosed address", "https://[::1/", "false", "is not a URL"},
		{"token in the query", "https://example.com/?customer_session_token=x", "false", "must not have the query parameter customer_session_token"},
		{"token in the query, escaped", "https://example.com/?customer%5Fsession_token", "false", "must not have the query parameter customer_session_token"},
		{"code in the query", "https://example.com/?customer_session_code=x", "false", "must not have the query parameter customer_session_code"},
		{"e-mail in the query", "https://example.com/?email=x", "true", "must not have the query parameter email"},
		{"query with a semicolon", "https://example.com/?a=b;c=d", "false", "has a query that cannot be parsed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := withPortal(t, test.template, test.emailInLink)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), "organizations[0].portal_url: ") ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q at organizations[0].portal_url", err, test.want)
			}
		})
	}
}

func BenchmarkPortalLink(b *testing.B) {
	token := strings.Repeat("abcdefghij", 60)
	for _, email := range []string{"", "someone@example.com"} {
		name := "token"
		if email != "" {
			name = "token+email"
		}
		b.Run(name, func(b *testing.B) {
			organization, err := withPortal(b, "https://portal.example.com/{slug}/portal", "true")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				organization.PortalLink(token, email)
			}
		})
	}
}
