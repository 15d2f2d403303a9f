package verify_test

import (
	"bufio"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// A WebSocket handshake is a GET, or a CONNECT, that acts. With the cookie it needs
// a page of the same origin, however much of it a gateway leaves out; a token in a
// header needs none, because no page of another site can send that.
func TestCookieHandshakes(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	token := s.token(t, s.header(), payload())
	guarded := newVerifier(t, s).NewMiddleware(verify.MiddlewareConfig{Cookie: true})(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if got, ok := verify.Token(r.Context()); !ok || got != token {
				t.Error("the context has another token than the cookie, or none")
			}
			w.WriteHeader(http.StatusOK)
		}))
	type fields = []string
	for how, handshake := range map[string]struct {
		method string
		fields fields
	}{
		"HTTP/1.1":                   {http.MethodGet, fields{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "k"}},
		"Upgrade alone":              {http.MethodGet, fields{"Upgrade", "WebSocket"}},
		"Upgrade among others":       {http.MethodGet, fields{"Upgrade", "h2c", "Upgrade", "foo/2, websocket"}},
		"without Upgrade":            {http.MethodGet, fields{"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "k"}},
		"HTTP/2":                     {http.MethodConnect, fields{":protocol", "websocket", "Sec-WebSocket-Version", "13"}},
		"HTTP/2, another protocol":   {http.MethodConnect, fields{":protocol", "webtransport"}},
		"HTTP/3":                     {http.MethodConnect, nil}, // the protocol is in Request.Proto
		"HTTP/2, by a gateway's GET": {http.MethodGet, fields{"Sec-WebSocket-Version", "13"}},
	} {
		for from, origin := range map[string]struct {
			fields fields
			status int
		}{
			"the same origin":                {fields{"Origin", "https://portal.example.com"}, 200},
			"the same origin, by two fields": {fields{"Origin", "https://portal.example.com", "Sec-Fetch-Site", "same-origin"}, 200},
			"the same origin, another Host":  {fields{"Origin", "https://public.example.com", "Sec-Fetch-Site", "same-origin"}, 200},
			"another origin":                 {fields{"Origin", "https://evil.example"}, 403},
			"another port":                   {fields{"Origin", "https://portal.example.com:8443"}, 403},
			"a sibling host":                 {fields{"Origin", "https://shop.example.com", "Sec-Fetch-Site", "same-site"}, 403},
			"another site":                   {fields{"Sec-Fetch-Site", "cross-site"}, 403},
			"no page":                        {fields{"Sec-Fetch-Site", "none"}, 403},
			"a sandboxed page":               {fields{"Origin", "null"}, 403},
			"nowhere":                        {nil, 403},
		} {
			t.Run(how+" from "+from, func(t *testing.T) {
				t.Parallel()
				ask := func(credential ...string) int {
					r := httptest.NewRequest(http.MethodGet, "https://portal.example.com/chat", http.NoBody)
					r.Method = handshake.method
					for field := range slices.Chunk(slices.Concat(handshake.fields, origin.fields, credential), 2) {
						r.Header.Add(field[0], field[1])
					}
					w := httptest.NewRecorder()
					guarded.ServeHTTP(w, r)
					return w.Code
				}
				if got := ask("Cookie", cookieName+"="+token); got != origin.status {
					t.Errorf("with the cookie: got %d, want %d", got, origin.status)
				}
				if got := ask("Authorization", "Bearer "+token); got != http.StatusOK {
					t.Errorf("with a bearer token: got %d, want 200", got)
				}
			})
		}
	}
}

// A server of HTTP/2 that takes WebSockets (RFC 8441). Go's does so by a setting of
// the environment that it reads at the start, so it is in a process of its own.
func TestExtendedConnect(t *testing.T) {
	t.Parallel()
	const child = "in the child"
	if flag.Arg(0) != child {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestExtendedConnect$", "-test.v", child)
		child.Env = append(child.Environ(), "GODEBUG=http2xconnect=1")
		output, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "--- PASS: TestExtendedConnect") {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	server := httptest.NewUnstartedServer(v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			line, _ := bufio.NewReader(r.Body).ReadString('\n') // empty when the client is gone
			_, _ = io.WriteString(w, r.Header.Get(":protocol")+" "+line)
		})))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	//nolint:staticcheck // net/http's own transport refuses the name :protocol
	transport := &http2.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig}
	cookie := cookieName + "=" + issuer.Token(verifytest.TokenSpec{})
	for _, tc := range []struct {
		name, origin string
		status       int
		body         string
	}{
		{"a page of ours", server.URL, 200, "websocket hello\n"},
		{"another site", "https://evil.example", 403, ""},
		{"nowhere", "", 403, ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, server.URL+"/chat", strings.NewReader("hello\n"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{":protocol": {"websocket"}, "Cookie": {cookie}, "Sec-Websocket-Version": {"13"}}
		if tc.origin != "" {
			request.Header.Set("Origin", tc.origin)
		}
		answer, err := transport.RoundTrip(request) //nolint:staticcheck // see above
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if body := text(t, answer); answer.StatusCode != tc.status || tc.body != "" && body != tc.body {
			t.Errorf("%s: got %d %q, want %d %q", tc.name, answer.StatusCode, body, tc.status, tc.body)
		}
	}
}
