package verify_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
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
	"golang.org/x/net/http2/hpack"

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
	cookie := cookieName + "=" + issuer.Token(verifytest.TokenSpec{})
	for _, tc := range []struct {
		name, origin string
		status, body string
	}{
		{"a page of ours", server.URL, "200", "websocket hello\n"},
		{"another site", "https://evil.example", "403", ""},
		{"nowhere", "", "403", ""},
	} {
		fields := []string{"cookie", cookie, "sec-websocket-version", "13"}
		if tc.origin != "" {
			fields = append(fields, "origin", tc.origin)
		}
		status, body := connect(t, server, fields, "hello\n")
		if status != tc.status || tc.body != "" && body != tc.body {
			t.Errorf("%s: got %s %q, want %s %q", tc.name, status, body, tc.status, tc.body)
		}
	}
}

// connect sends an extended CONNECT with a body, frame by frame, as net/http's
// client sends no field named ":protocol", and returns the answer's status and body.
func connect(t *testing.T, server *httptest.Server, fields []string, body string) (status, got string) {
	t.Helper()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{http2.NextProtoTLS}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for field := range slices.Chunk(append([]string{
		":method", http.MethodConnect, ":protocol", "websocket", ":scheme", "https", ":path", "/chat",
		":authority", server.Listener.Addr().String(),
	}, fields...), 2) {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err := errors.Join(err,
		framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true}),
		framer.WriteData(1, false, []byte(body)),
	); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		case *http2.DataFrame:
			got += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatal(frame)
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return status, got
		}
	}
}
