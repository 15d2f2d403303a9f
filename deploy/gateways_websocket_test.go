package deploy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// startChat puts a service in the place of the gateway's, which takes WebSockets from
// everybody and tells each whom the gateway says it talks to.
func startChat(t *testing.T, g *gateway) {
	t.Helper()
	chat := websocket.Server{Handler: func(conn *websocket.Conn) {
		heard := make([]byte, 4)
		if _, err := io.ReadFull(conn, heard); err == nil {
			_, _ = fmt.Fprintf(conn, "%s %s", heard, conn.Request().Header.Get("X-Customer-Id")) // the client may be gone
		}
	}}
	plain := g.service
	mux := http.NewServeMux()
	mux.Handle("/chat", chat)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.RequestURI = "http", plain, ""
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		_, _ = io.Copy(w, answer.Body)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g.service = server.Listener.Addr().String()
}

// talk opens a WebSocket with some header lines and says "ping" (RFC 6455, Sections
// 4.1 and 5). It returns the status, and what the service said.
func (g *gateway) talk(t *testing.T, lines ...string) (status int, said string) {
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
	if err := conn.SetDeadline(time.Now().Add(runbookLimit)); err != nil {
		t.Fatal(err)
	}
	handshake := append([]string{
		"GET /chat HTTP/1.1", "Host: " + g.address(), "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, lines...)
	if _, err := io.WriteString(conn, strings.Join(append(handshake, "", ""), "\r\n")); err != nil {
		t.Fatal(err)
	}
	buffered := bufio.NewReader(conn)
	response, err := http.ReadResponse(buffered, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		return response.StatusCode, ""
	}
	if got := response.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got Sec-WebSocket-Accept %q, want that of RFC 6455, Section 1.3", got)
	}
	// A text of 4 bytes, masked with zeros.
	if _, err := io.WriteString(conn, "\x81\x84\x00\x00\x00\x00ping"); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 2)
	if _, err := io.ReadFull(buffered, frame); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, frame[1])
	if _, err := io.ReadFull(buffered, text); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A WebSocket of our own page opens, and one of a program with a bearer token. With
// the cookie of a visitor, no other page can open one, and nobody who does not say
// where the handshake comes from.
func TestGatewayWebSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range guardedGateways() {
		if kind.name == "compose" { // takes no cookie, and passes no WebSocket on
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newPageIssuer(t))
			ours, others := http.StatusUnauthorized, http.StatusUnauthorized
			if kind.asks {
				g.startAuthz(t, authz.Config{Cookie: true})
				ours, others = http.StatusSwitchingProtocols, http.StatusForbidden
			}
			startChat(t, g)
			kind.start(t, g)
			token := g.issuer.Token(verifytest.TokenSpec{})
			bearer, cookie := "Authorization: Bearer "+token, "Cookie: __Host-customer_session="+token
			for _, test := range []struct {
				name   string
				lines  []string
				status int
			}{
				{"a program", []string{bearer}, 101},
				{"a program that sends an Origin", []string{bearer, "Origin: https://app.example.com"}, 101},
				{"a program with a bad token", []string{bearer + "x"}, 401},
				{"nobody", []string{"Origin: http://" + g.address()}, 401},
				{"a page of ours", []string{cookie, "Origin: http://" + g.address(), "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: websocket"}, ours},
				{"a page of ours, old browser", []string{cookie, "Origin: http://" + g.address()}, ours},
				{"another site", []string{cookie, "Origin: https://evil.example.com", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket"}, others},
				{"another site, old browser", []string{cookie, "Origin: https://evil.example.com"}, others},
				{"another port", []string{cookie, "Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"}, others},
				{"a sandboxed page", []string{cookie, "Origin: null"}, others},
				{"another site that lies about the method", []string{cookie, "Origin: https://evil.example.com", "X-Forwarded-Method: GET"}, others},
				{"nowhere", []string{cookie}, others},
			} {
				status, said := g.talk(t, test.lines...)
				want := ""
				if test.status == http.StatusSwitchingProtocols {
					want = "ping " + verifytest.CustomerID
				}
				if status != test.status || said != want {
					t.Errorf("%s: got %d %q, want %d %q", test.name, status, said, test.status, want)
				}
			}
		})
	}
}
