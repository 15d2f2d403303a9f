package deploy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// An askingGateway is one that asks authz.
type askingGateway struct {
	name string
	// withoutAuthz is what it answers when there is nobody to ask.
	withoutAuthz string
	start        func(t *testing.T, g *gateway)
}

func askingGateways() []askingGateway {
	return []askingGateway{
		{"nginx", unavailable, startNginx},
		{"caddy", "status 502", startCaddy},
	}
}

func startNginx(t *testing.T, g *gateway) {
	t.Helper()
	program := pageProgram(t, []string{"nginx", "/usr/sbin/nginx"}, "install nginx", "-v")
	folder := t.TempDir()
	writePageFiles(t, folder, map[string]string{
		"portal.conf": gatewayConfig(t, "nginx.conf", "listen 8080", "listen "+g.address(),
			"127.0.0.1:8090", g.authz, "127.0.0.1:9000", g.service, "/var/log/nginx", folder),
		"nginx.conf": strings.ReplaceAll(`
pid FOLDER/pid;
error_log stderr;
events {}
http {
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  include FOLDER/portal.conf;
}
`, "FOLDER", folder),
	})
	g.run(t, folder, program, "-p", folder, "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;")
}

func startCaddy(t *testing.T, g *gateway) {
	t.Helper()
	program := pageProgram(t, []string{"caddy"}, "install caddy", "version")
	folder := t.TempDir()
	writePageFiles(t, folder, map[string]string{
		"Caddyfile": "{\n\tadmin off\n}\n" + gatewayConfig(t, "Caddyfile", "\n:8080 {", "\nhttp://"+g.address()+" {",
			"127.0.0.1:8090", g.authz, "127.0.0.1:9000", g.service),
	})
	g.run(t, folder, program, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
}

// eachAskingGateway runs a test with each gateway, and an authz of its own.
func eachAskingGateway(t *testing.T, test func(t *testing.T, kind askingGateway, g *gateway, stopAuthz func())) {
	t.Helper()
	for _, kind := range askingGateways() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newPageIssuer(t))
			stop := g.startAuthz(t, authz.Config{})
			kind.start(t, g)
			test(t, kind, g, stop)
		})
	}
}

func TestGatewayAuthzTokens(t *testing.T) {
	t.Parallel()
	eachAskingGateway(t, func(t *testing.T, _ askingGateway, g *gateway, _ func()) {
		t.Helper()
		checkPageTokens(t, g.issuer, g.verdict)
	})
}

func TestGatewayAuthzRotation(t *testing.T) {
	t.Parallel()
	eachAskingGateway(t, func(t *testing.T, _ askingGateway, g *gateway, _ func()) {
		t.Helper()
		g.check(t)
	})
}

// A client that does not try to authenticate learns how it could, one that does
// it twice that nobody guesses, and all methods are alike.
func TestGatewayAuthzRequests(t *testing.T) {
	t.Parallel()
	eachAskingGateway(t, func(t *testing.T, _ askingGateway, g *gateway, _ func()) {
		t.Helper()
		good := g.issuer.Token(verifytest.TokenSpec{})
		const challenge = `Bearer realm="customersession"`
		for _, test := range []struct {
			name, method, token string
			header              []string
			status              int
			challenge           string
		}{
			{"no token", http.MethodGet, "", nil, 401, challenge},
			{"no token, by POST", http.MethodPost, "", nil, 401, challenge},
			{"good, by POST", http.MethodPost, good, nil, 200, ""},
			{"good, by DELETE", http.MethodDelete, good, nil, 200, ""},
			{"a cookie alone", http.MethodGet, "", []string{"Cookie", "__Host-customer_session=" + good}, 401, challenge},
			{"text after the token", http.MethodGet, good + " x", nil, 400, challenge + `, error="invalid_request"`},
			{"two tokens", http.MethodGet, good, []string{"Authorization", "Bearer " + good}, 400, ""},
		} {
			answer, err := g.ask(test.method, test.token, test.header...)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			got := answer.header.Get("WWW-Authenticate")
			if answer.status != test.status || !strings.HasPrefix(got, test.challenge) {
				t.Errorf("%s: got %d %q, want %d %q", test.name, answer.status, got, test.status, test.challenge)
			}
			if test.status == http.StatusOK && answer.seen.Get("X-Customer-Id") != verifytest.CustomerID {
				t.Errorf("%s: the service saw %q", test.name, answer.seen)
			}
		}
	})
}

// Where authz was told to take the portal's cookie, it must learn from the
// gateway how the client came.
func TestGatewayAuthzCookie(t *testing.T) {
	t.Parallel()
	for _, kind := range askingGateways() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newPageIssuer(t))
			g.startAuthz(t, authz.Config{Cookie: true})
			kind.start(t, g)
			cookie := "__Host-customer_session=" + g.issuer.Token(verifytest.TokenSpec{})
			for _, test := range []struct {
				name, method string
				header       []string
				status       int
			}{
				{"a link on another site", http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, 200},
				{"a form of another site", http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, 403},
				{"a form of another site, with a lie", http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "X-Forwarded-Method", "GET"}, 403},
				{"a form of another site, old browser", http.MethodPost, []string{"Origin", "https://evil.example.com"}, 403},
				{"a form of ours", http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, 200},
				{"a form of ours, old browser", http.MethodPost, []string{"Origin", "http://" + g.address()}, 200},
			} {
				answer, err := g.ask(test.method, "", append(test.header, "Cookie", cookie)...)
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
				} else if answer.status != test.status {
					t.Errorf("%s: got %d, want %d", test.name, answer.status, test.status)
				}
			}
		})
	}
}

// The issuer goes, and then authz. What is known goes on; a client whose token
// may be good is never told that it is bad.
func TestGatewayAuthzOutage(t *testing.T) {
	t.Parallel()
	eachAskingGateway(t, func(t *testing.T, kind askingGateway, g *gateway, stopAuthz func()) {
		t.Helper()
		check := func(when, want, token string) {
			t.Helper()
			if got := g.verdict(token); got != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
		good := g.issuer.Token(verifytest.TokenSpec{})
		check("at first", accepted, good)
		g.issuer.Fail(verifytest.Down)
		check("without the issuer", accepted, good)
		check("without the issuer, another session", accepted, g.issuer.Token(verifytest.TokenSpec{}))
		check("without the issuer, a bad token", refused, good+"x")
		stopAuthz()
		check("without authz", kind.withoutAuthz, good)
	})
}

// An authz that has never had keys does not know.
func TestGatewayAuthzWithoutKeys(t *testing.T) {
	t.Parallel()
	for _, kind := range askingGateways() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newPageIssuer(t))
			g.issuer.Fail(verifytest.ServerError)
			g.startAuthz(t, authz.Config{})
			g.ready = unavailable
			kind.start(t, g)
			if got := g.verdict(g.issuer.Token(verifytest.TokenSpec{})); got != unavailable {
				t.Errorf("got %q, want %q", got, unavailable)
			}
		})
	}
}
