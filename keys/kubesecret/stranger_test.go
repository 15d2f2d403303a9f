package kubesecret_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/customersession/customersession/keys/kubesecret"
)

// TestStrangersText connects to programs that are not the API server. What they
// say reaches the error, but nothing of it commands the terminal, and only the
// beginning.
func TestStrangersText(t *testing.T) {
	t.Parallel()
	text := "you\x1b[2Jmust\x1b]0;believe\a\x9bme\u202e" + strings.Repeat(" and me", 500)
	proxy := refusingProxy(t, text)
	for _, c := range []struct{ name, cluster, words string }{
		{"name in a certificate", "{server: '" + impostor(t, text) + "', tls-server-name: kubernetes.test}", "certificate is valid for you [2Jmust"},
		{"status of a proxy", "{server: 'https://kubernetes.test', proxy-url: 'http://" + proxy + "'}", "you [2Jmust"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := mustNew(t, kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: writeFile(t, "kubeconfig", `
clusters: [{name: c, cluster: `+c.cluster+`}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`)}).Read(t.Context())
			wantError(t, err, "no connection to the API server", c.words)
			if err != nil && (strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) || len(err.Error()) > 1000) {
				t.Errorf("got an error of %d bytes: %q", len(err.Error()), err)
			}
		})
	}
}

// impostor serves with a certificate of its own for that name.
func impostor(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{ascii(name)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// ascii returns the ASCII characters of a text, which is all that a name in a
// certificate may have.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return -1
		}
		return r
	}, text)
}

// refusingProxy answers every connection with that text as its status.
func refusingProxy(t *testing.T, status string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(connection))
			_, _ = io.WriteString(connection, "HTTP/1.1 403 "+status+"\r\nContent-Length: 0\r\n\r\n")
			_ = connection.Close()
		}
	}()
	return listener.Addr().String()
}
