package issuer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer"
)

// A page of any origin may ask for the portal calls, with the token in the
// Authorization header.
func TestPortalPreflight(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{portalPath + "introspect", portalPath + "user", "/" + portalPath + "user"} {
		a := roundTrip(t, f.request(t, http.MethodOptions, path, "", "Origin", "https://shop.example.com",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,polar-version"))
		if a.status != http.StatusNoContent || len(a.body) > 0 {
			t.Errorf("%s: got %d %s, want 204", path, a.status, a.body)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":      "*",
			"Access-Control-Allow-Methods":     "OPTIONS, GET, HEAD",
			"Access-Control-Allow-Headers":     "Authorization,Content-Type,Polar-Version,X-Request-Id,*",
			"Access-Control-Allow-Credentials": "",
			"Access-Control-Max-Age":           "3600",
			"WWW-Authenticate":                 "",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	f.shutdown()
	for line := range strings.Lines(f.logs.String()) {
		if strings.Contains(line, `"OPTIONS"`) && !strings.Contains(line, `"level":"DEBUG"`) {
			t.Errorf("a preflight is logged above debug: %s", line)
		}
	}
}

// A page reads what is wrong, too. Without the header its browser would say
// only that the request failed.
func TestPortalAnswersAnyOrigin(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := "Bearer " + f.createAny(t).text(t, "token")
	limited := newFixture(t, func(o *fixtureOptions) {
		o.change = func(c *issuer.Config) { c.AnonymousRate, c.AnonymousBurst = 1e-6, 1 }
	})
	limited.do(t, http.MethodGet, portalPath+"user", "")
	broken := newFixture(t, func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) })
	for _, test := range []struct {
		name                        string
		f                           *fixture
		method, path, authorization string
		status                      int
		expose                      string
	}{
		{"answer", f, "GET", portalPath + "user", good, 200, ""},
		{"answer to HEAD", f, "HEAD", portalPath + "introspect", good, 200, ""},
		{"no token", f, "GET", portalPath + "user", "", 401, "WWW-Authenticate"},
		{"bad token", f, "GET", portalPath + "introspect", "Bearer x", 401, "WWW-Authenticate"},
		{"unreadable header", f, "GET", portalPath + "introspect", "Bearer", 400, "WWW-Authenticate"},
		{"unknown path", f, "GET", portalPath + "nothing", good, 404, ""},
		{"wrong method", f, "DELETE", portalPath + "user", good, 405, ""},
		{"too many", limited, "GET", portalPath + "user", "", 429, "Retry-After"},
		{"unavailable", broken, "GET", portalPath + "user", "Bearer " + broken.forge(t, nil, nil), 503, "Retry-After"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			headers := []string{"Origin", "https://shop.example.com"}
			if test.authorization != "" {
				headers = append(headers, "Authorization", test.authorization)
			}
			a := test.f.do(t, test.method, test.path, "", headers...)
			if a.status != test.status {
				t.Fatalf("got %d %s, want %d", a.status, a.body, test.status)
			}
			if got := a.header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "*" {
				t.Errorf("Access-Control-Allow-Origin is %q, want *", got)
			}
			if a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("cookies are allowed")
			}
			if test.expose == "" {
				return
			}
			if got := a.header.Get("Access-Control-Expose-Headers"); !strings.Contains(got, test.expose) || a.header.Get(test.expose) == "" {
				t.Errorf("pages may read %q, want %s with them", got, test.expose)
			}
		})
	}
}

// The calls of back ends are not for pages.
func TestOtherCallsAreNotForPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{createPath, strings.TrimSuffix(createPath, "/"), askPath, "/v1/customer-portal"} {
		for _, method := range []string{http.MethodOptions, http.MethodPost} {
			a := f.do(t, method, path, "", "Origin", "https://shop.example.com", "Authorization", "Bearer "+f.secret,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s has the header %s", method, path, name)
				}
			}
			if method == http.MethodOptions && a.status < 400 {
				t.Errorf("OPTIONS %s: got %d, want a refusal", path, a.status)
			}
		}
	}
}

// OPTIONS * is about no call, and answered and logged like any other request that
// is not.
func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.dial(t)
	c.write(t, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := c.answer(t); a.status != http.StatusNotFound || string(a.body) != `{"detail":"Not Found"}` {
		t.Errorf("got %d %s, want the 404 of an unknown path", a.status, a.body)
	}
	f.shutdown()
	if !strings.Contains(f.logs.String(), `"method":"OPTIONS","route":"none","status":404`) {
		t.Error("there is no line in the log")
	}
}
