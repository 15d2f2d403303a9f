package issuer_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
)

// Whatever is sent wherever, no log line and no metric holds a token, an API
// key or a part of a private key. Every fixture looks for them in the log when
// it ends, and metricsAfter does in the metrics.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) {
				o.ring = ringOf(t, newManifest(t, algorithm), nil)
				o.change = func(c *issuer.Config) {
					c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			if n := len(privatePart.FindAll(f.ring.Manifest().Encode(), -1)); n < 2 {
				t.Fatalf("the manifest has %d private parts to look for, want one of each key at least", n)
			}
			session := f.createAny(t)
			for _, secret := range []string{f.secret, f.expired, f.foreign, session.text(t, "token"), session.text(t, "customer_portal_url")} {
				f.sendEverywhere(t, secret)
			}
			f.metricsAfter(t)
			if n := strings.Count(f.logs.String(), `"msg":"request"`); n < 80 {
				t.Errorf("the log has %d requests: is there one?", n)
			}
		})
	}
}

// sendEverywhere sends a secret to every endpoint in every place of a request.
func (f *fixture) sendEverywhere(t testing.TB, secret string) {
	t.Helper()
	for _, endpoint := range []struct{ method, path, contentType string }{
		{http.MethodPost, createPath, "application/json"},
		{http.MethodPost, askPath, formType},
		{http.MethodGet, portalPath + "introspect", ""},
		{http.MethodGet, portalPath + "user", ""},
		{http.MethodGet, "/.well-known/jwks.json", ""},
		{http.MethodGet, "/nowhere", ""},
	} {
		for _, place := range []string{"Authorization", "X-Request-Id", "X-Forwarded-For", "User-Agent", "Referer", "If-None-Match", "Polar-Version", "Content-Type", "Cookie"} {
			headers := []string{place, secret}
			switch place {
			case "Authorization":
				headers = []string{place, "Bearer " + secret}
			case "Content-Type":
			default:
				headers = append(headers, "Content-Type", endpoint.contentType, "Authorization", "Bearer "+f.secret)
			}
			roundTrip(t, f.request(t, endpoint.method, endpoint.path+"?token="+secret, "token="+secret, headers...))
		}
		for _, body := range []string{
			secret, `"` + secret + `"`, `{"` + secret + `":0}`, `{"customer_id":"` + secret + `"}`,
			`{"external_customer_id":"` + secret + `"}`, `{"customer_id":"` + customerID + `","return_url":"` + secret + `"}`,
		} {
			roundTrip(t, f.request(t, endpoint.method, endpoint.path, body,
				"Authorization", "Bearer "+f.secret, "Content-Type", endpoint.contentType))
		}
		roundTrip(t, f.request(t, endpoint.method, "/"+strings.ReplaceAll(secret, "/", "%2F"), "", "Authorization", "Bearer "+f.secret))
	}
}

// One line a request and one event a session say who did what, and to whom.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const id = "checkout-4711"
	a := f.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`,
		"Authorization", "Bearer "+f.secret, "X-Request-Id", id)
	if got := a.header.Get("X-Request-Id"); got != id {
		t.Errorf("X-Request-Id is %q, want %q", got, id)
	}
	refused := f.post(t, f.introspectOnly, `{}`)
	f.shutdown()
	var events []map[string]any
	for _, line := range f.logLines(t) {
		if line["msg"] == "session issued" {
			events = append(events, line)
		}
	}
	if len(events) != 1 {
		t.Fatalf("there are %d events, want one", len(events))
	}
	checkLine(t, events[0], map[string]any{
		"level": "INFO", "request_id": id, "organization_id": orgID, "api_key": "all", "client_id": clientID(f.secret),
		"session_id":  a.text(t, "id"),
		"customer_id": customerID, "key_id": segment(t, a.text(t, "token"), 0)["kid"], "expires_at": a.text(t, "expires_at"),
	})
	checkLine(t, f.requestLine(t, id), map[string]any{
		"level": "INFO", "method": "POST", "route": createPath, "status": 201.0, "bytes": float64(len(a.body)),
		"client": "127.0.0.1", "organization": "acme", "api_key": "all",
	})
	checkLine(t, f.requestLine(t, refused.header.Get("X-Request-Id")), map[string]any{
		"level": "INFO", "status": 403.0, "api_key": "introspect", "error": "insufficient_scope",
	})
}

func checkLine(t *testing.T, line, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if line[name] != value {
			t.Errorf("%s: %s is %v, want %v", line["msg"], name, line[name], value)
		}
	}
}

// A request ID of a client's is taken over only when it can do no harm.
func TestRequestID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name, id string
		taken    bool
	}{
		{"UUID", "6f0f6b0e-93c5-4c5e-9a40-0d6a3a1f7c11", true},
		{"letters, digits, marks", "Job-7-b", true},
		{"longest", strings.Repeat("a", 36), true},
		{"too long", strings.Repeat("a", 37), false},
		{"white space", "a b", false},
		{"quotation mark", `a"b`, false},
		{"not ASCII", "\u00e9", false},
		{"a token's dots", "a.b.c", false},
		{"underscore", "a_b", false},
		{"API key", f.secret, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodGet, "/.well-known/jwks.json", "", "X-Request-Id", test.id)
			if got := a.header.Values("X-Request-Id"); len(got) != 1 || got[0] == "" || slices.Contains(got, test.id) != test.taken {
				t.Errorf("X-Request-Id is %q, for %q", got, test.id)
			}
		})
	}
}
