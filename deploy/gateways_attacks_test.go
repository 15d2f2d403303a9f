package deploy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// A guarded is a gateway of ours under attack: the real program with the
// configuration that we ship.
type guarded struct {
	name  string
	start func(t *testing.T, g *gateway)
	// asks says that it asks authz.
	asks bool
}

func guardedGateways() []guarded {
	return []guarded{
		{"nginx", startNginx, true},
		{"compose", startComposeNginx, true},
		{"caddy", startCaddy, true},
		{"apache", func(t *testing.T, g *gateway) { t.Helper(); startApache(t, g, "600") }, false},
		{"haproxy", startGatewayHAProxy, false},
	}
}

// startComposeNginx runs nginx as the compose file does, but without TLS.
func startComposeNginx(t *testing.T, g *gateway) {
	t.Helper()
	program := pageProgram(t, []string{"nginx", "/usr/sbin/nginx"}, "install nginx", "-v")
	folder := t.TempDir()
	text, err := os.ReadFile("compose/gateway.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("listen 8444 ssl;", "listen "+g.address()+";",
		"ssl_certificate /srv/tls/server.pem;", "", "ssl_certificate_key /srv/tls/server.key;", "",
		"http://portal:9000", "http://"+g.service, "http://authz:8090", "http://"+g.authz,
		"/tmp/nginx.pid", folder+"/pid", "http {", strings.ReplaceAll(`http {
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
`, "FOLDER", folder)).Replace(string(text))
	writePageFiles(t, folder, map[string]string{"nginx.conf": config})
	g.run(t, folder, program, "-p", folder, "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;")
}

// startGatewayHAProxy runs HAProxy as verifying.md says.
func startGatewayHAProxy(t *testing.T, g *gateway) {
	t.Helper()
	proxy := startProxyFor(t, g.issuer, g.service)
	g.client, g.socket = proxy.client, proxy.socket
	g.waitFor(t, accepted, g.issuer.Token(verifytest.TokenSpec{}))
}

// What may become of an attack. In no case does the service see anything that the
// client says about its identity.
const (
	identified = "identified"             // the service sees whose session it is
	asMember   = "identified as a member" // the same, of a team
	signsIn    = "signs in"               // the service sees the path of the portal link, and no identity
	kept       = "kept out"               // the service sees nothing
)

// An attack is a request, in which TOKEN is a good token, and COLLEAGUE that of a
// member of a team.
type attack struct {
	name    string
	request []string // its lines, without those that all requests have
	want    []string // what may become of it
}

// attacks are all that clients have tried to get past a gateway.
func attacks() []attack {
	const bearer = "Authorization: Bearer TOKEN"
	all := []attack{
		{"a good token", []string{"GET /account HTTP/1.1", bearer}, []string{identified}},
		{"a member's token", []string{"GET /account HTTP/1.1", "Authorization: Bearer COLLEAGUE"}, []string{asMember}},
		{"a good token after a member's", []string{"GET /account HTTP/1.1", bearer}, []string{identified}},
		{"no token", []string{"GET /account HTTP/1.1"}, []string{kept}},
		{"a forged token", []string{"GET /account HTTP/1.1", bearer + "x"}, []string{kept}},
		{"the portal link", []string{"GET /portal?customer_session_token=a.b.c HTTP/1.1"}, []string{signsIn}},
		{"the button of the portal link", []string{"POST /portal?customer_session_token=a.b.c HTTP/1.1", "Content-Length: 0"}, []string{signsIn}},
		{"a preflight", []string{"OPTIONS /account HTTP/1.1", "Origin: https://evil.example.com", "Access-Control-Request-Method: DELETE"}, []string{kept}},
		{"a cookie from another site", []string{"POST /account HTTP/1.1", "Cookie: __Host-customer_session=TOKEN", "Origin: https://evil.example.com", "Content-Length: 0"}, []string{kept}},
		{"a WebSocket of another site", []string{
			"GET /account HTTP/1.1", "Cookie: __Host-customer_session=TOKEN", "Origin: https://evil.example.com",
			"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		}, []string{kept}},
		{"a WebSocket of another site by CONNECT", []string{
			"CONNECT /account HTTP/1.1", "Cookie: __Host-customer_session=TOKEN", "Origin: https://evil.example.com",
			"Sec-WebSocket-Version: 13", "Sec-Fetch-Site: cross-site",
		}, []string{kept}},
	}
	for _, upgrade := range [][]string{
		{"Upgrade: h2c"},
		{"Upgrade: h2c", "Upgrade: websocket"},
		{"Upgrade: websocket", "Upgrade: h2c"},
		{"Upgrade: websocket, h2c"},
		{"Upgrade: h2c, websocket"},
		{"Upgrade: TLS/1.0"},
	} {
		request := append([]string{
			"GET /account HTTP/1.1", bearer, "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
		}, upgrade...)
		all = append(all, attack{"to talk past the gateway: " + strings.Join(upgrade, ", "), request, []string{identified, kept}})
	}
	for _, path := range []string{
		"/portal/", "/portal/account", "/portal//", "//portal", "/portal;x", "/PORTAL", "/portal.", "/portal%20", "/portal%00", "/portal%3fx",
		"/%70ortal", "/portal%2faccount", "/portal/..%2faccount", "/portal%2f..%2faccount", "/portal%5c..%5caccount", `/portal\..\account`,
		"/portal/../account", "/portal/%2e%2e/account", "/portal/..;/account", "/./portal", "/account/../portal", "/account/..%2fportal",
		"/account%2f..%2fportal", "/account/%2e%2e/portal", "/account?/portal", "/account?x=/portal?", "/account#/portal", "/account%23/portal",
		"http://HOST/portal/account", "http://HOST/account/..%2fportal", "http://evil.example.com/account",
	} {
		all = append(all, attack{"path " + path, []string{"GET " + path + " HTTP/1.1"}, []string{kept, signsIn}})
	}
	for _, connection := range []string{
		"close, X-Customer-Id, X-Session-Id, X-Organization-Id", "x-customer-id", "keep-alive, x-customer-id,x-session-id",
		"close, Authorization", "Upgrade, X-Customer-Id", "close, X_Customer_Id, X.Customer.Id",
	} {
		all = append(all,
			attack{"Connection: " + connection, []string{"GET /account HTTP/1.1", bearer, "Connection: " + connection}, []string{identified, kept}},
			attack{"two of Connection: " + connection, []string{"GET /account HTTP/1.1", bearer, "Connection: close", "Connection: " + connection}, []string{identified, kept}},
			attack{"upgrade, Connection: " + connection, []string{"GET /account HTTP/1.1", bearer, "Upgrade: websocket", "Connection: " + connection}, []string{identified, kept}},
			attack{"Proxy-Connection: " + connection, []string{"GET /account HTTP/1.1", bearer, "Proxy-Connection: " + connection}, []string{identified, kept}},
		)
	}
	for _, name := range []string{"Customer Id", "Session Id", "Organization Id", "Member Id", "Member Role"} {
		for to, target := range map[string]string{identified: "/account", signsIn: "/portal"} {
			lies := attack{"lies about " + name + " at " + target, []string{"GET " + target + " HTTP/1.1"}, []string{to}}
			if to == identified {
				lies.request = append(lies.request, bearer)
			}
			for _, spelling := range spellings("X " + name) {
				lies.request = append(lies.request, spelling+": "+lie)
			}
			all = append(all, lies)
		}
	}
	return all
}

// lie is the value of every header that a client sends about its identity.
const lie = "somebody"

// spellings are the names that a service may take for one of ours, in which -, _
// and . stand for the spaces.
func spellings(words string) []string {
	all := []string{words}
	for range strings.Count(words, " ") {
		var next []string
		for _, text := range all {
			for _, separator := range []string{"-", "_", "."} {
				next = append(next, strings.Replace(text, " ", separator, 1))
			}
		}
		all = next
	}
	for _, name := range slices.Clone(all) {
		all = append(all, strings.ToUpper(name))
	}
	return all
}

// A witness is a service that remembers what reached it.
type witness struct {
	mu   sync.Mutex
	came []came
}

// A came is a request that reached the service.
type came struct {
	URI    string
	Header http.Header
}

// startWitness puts a witness in the place of the gateway's service.
func startWitness(t *testing.T, g *gateway) *witness {
	t.Helper()
	w := &witness{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.came = append(w.came, came{r.RequestURI, r.Header.Clone()})
		_ = json.NewEncoder(rw).Encode(r.Header) // for the verdict of a gateway that starts
	}))
	t.Cleanup(server.Close)
	g.service = server.Listener.Addr().String()
	return w
}

// take returns what came since it was last called.
func (w *witness) take() []came {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.came
	w.came = nil
	return all
}

// outcome says what became of a request, or what must never become of one.
func (w *witness) outcome() string {
	all := w.take()
	if len(all) == 0 {
		return kept
	}
	var told []string
	verdict := identified
	for _, c := range all {
		if upgrade := c.Header["Upgrade"]; len(upgrade) > 0 && !slices.Equal(upgrade, []string{"websocket"}) {
			return fmt.Sprintf("the service may talk %q past the gateway", upgrade)
		}
		for name, values := range c.Header {
			if slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, lie) }) {
				return "the service saw a lie in " + name
			}
			if plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)); strings.HasPrefix(plain, "x-customer-") ||
				strings.HasPrefix(plain, "x-session-") || strings.HasPrefix(plain, "x-organization-") || strings.HasPrefix(plain, "x-member-") {
				told = append(told, name)
			}
		}
		if len(told) == 0 {
			if path, _, _ := strings.Cut(c.URI, "?"); path != "/portal" {
				return fmt.Sprintf("the service saw %q from nobody", c.URI)
			}
			continue
		}
		identity := gatewayIdentity
		if c.Header.Get("X-Member-Id") != "" {
			identity, verdict = gatewayMember, asMember
		}
		for name, value := range identity {
			if got := c.Header[http.CanonicalHeaderKey(name)]; len(got) != 1 || got[0] != value {
				return fmt.Sprintf("the service saw %s: %q", name, got)
			}
		}
		if len(told) != len(identity) {
			return fmt.Sprintf("the service saw %q", told)
		}
	}
	if len(told) == 0 {
		return signsIn
	}
	return verdict
}

// send sends a request as it is, and waits for the answer. No answer is one, too.
func (g *gateway) send(t *testing.T, lines []string, token string) (status int) {
	t.Helper()
	network, address := "tcp", g.address()
	if g.socket != "" {
		network, address = "unix", g.socket
	}
	conn, err := net.DialTimeout(network, address, runbookLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(append(slices.Clone(lines), "Host: HOST", "", ""), "\r\n")
	_, err = io.WriteString(conn, strings.NewReplacer("TOKEN", token, "COLLEAGUE", memberToken(g.issuer), "HOST", g.address()).Replace(text))
	if err != nil {
		return 0
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// No attack gets past any of the gateways that we ship: what the service is told
// comes from the gateway alone, and nobody without a session gets anywhere but to
// the path of the portal link.
func TestGatewayAttacks(t *testing.T) {
	t.Parallel()
	for _, kind := range guardedGateways() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newPageIssuer(t))
			stopAuthz := func() {}
			if kind.asks {
				stopAuthz = g.startAuthz(t, authz.Config{Cookie: true})
			}
			w := startWitness(t, g)
			kind.start(t, g)
			w.take()
			token := g.issuer.Token(verifytest.TokenSpec{})
			for _, a := range attacks() {
				status := g.send(t, a.request, token)
				if got := w.outcome(); !slices.Contains(a.want, got) {
					t.Errorf("%s: %s (status %d), want %s", a.name, got, status, strings.Join(a.want, " or "))
				}
			}
			if !kind.asks {
				return
			}
			stopAuthz()
			for _, a := range attacks()[:2] {
				if status := g.send(t, a.request, token); w.outcome() != kept || status < 500 {
					t.Errorf("%s, without authz: status %d, want it kept out with 5xx", a.name, status)
				}
			}
		})
	}
}
