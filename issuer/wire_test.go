package issuer_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A rawConn is a connection to the server, for what no client sends.
type rawConn struct {
	net.Conn
	reader *bufio.Reader
}

func (f *fixture) dial(t testing.TB) *rawConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{conn, bufio.NewReader(conn)}
}

// write sends text. The server may hang up before it has read all.
func (w *rawConn) write(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Logf("writing: %v", err)
	}
}

// end says that nothing more will be written.
func (w *rawConn) end(t testing.TB) {
	t.Helper()
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// answer reads the next one.
func (w *rawConn) answer(t testing.TB) *answer {
	t.Helper()
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, response)
}

// rest reads whatever comes until the server hangs up.
func (w *rawConn) rest(t testing.TB) []byte {
	t.Helper()
	rest, err := io.ReadAll(w.reader)
	if err != nil {
		t.Logf("reading: %v", err)
	}
	return rest
}

func TestHostileMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const line = "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\n"
	head := line + "Content-Type: application/json\r\nAuthorization: Bearer " + f.secret + "\r\n"
	body := `{"customer_id":"` + customerID + `"}`
	sized := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	t.Run("attack", func(t *testing.T) {
		for _, test := range []struct {
			name, message string
			status        int
		}{
			{"good", head + sized, 201},
			{"body cut off", head + "Content-Length: 1000\r\n\r\n" + body + marker, 400},
			{"body missing", head + "Content-Length: 1000\r\n\r\n", 400},
			{"no length and no body", head + "\r\n", 422},
			{"chunk cut off", head + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + body, 400},
			{"last chunk missing", head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 400},
			{"chunk without a length", head + "Transfer-Encoding: chunked\r\n\r\n" + marker + "\r\n", 400},
			{"enormous chunk", head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
			{"enormous length", head + "Content-Length: 1000000000000\r\n\r\n" + body, 413},
			{"length out of range", head + "Content-Length: " + strings.Repeat("9", 30) + "\r\n\r\n" + body, 400},
			{"negative length", head + "Content-Length: -1\r\n\r\n" + body, 400},
			{"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + body, 400},
			{"another transfer encoding", head + "Transfer-Encoding: " + marker + "\r\n\r\n" + body, 501},
			{"asking before it sends too much", head + "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", 413},
			{"enormous header", line + "X-A: " + strings.Repeat(marker, 10_000) + "\r\n\r\n", 431},
			{"10 thousand headers", line + strings.Repeat("X-A: "+marker+"\r\n", 10_000) + "\r\n", 431},
			{"enormous path", "GET /" + strings.Repeat(marker, 10_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
			{"header without a colon", line + marker + "\r\n\r\n", 400},
			{"NUL in a header", line + "X-A: " + marker + "\x00\r\n\r\n", 400},
			{"white space before the colon", line + "X-A : " + marker + "\r\n\r\n", 400},
			{"no host", "POST /v1/customer-sessions/ HTTP/1.1\r\n\r\n", 400},
			{"two hosts", "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
			{"bad escape in the path", "GET /%zz" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n", 400},
			{"NUL in the path", "GET /" + marker + "%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
			{"line feed in the path", "GET /%0a" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n", 404},
			{"text", marker + "\r\n\r\n", 400},
			{"handshake of TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + marker + "\r\n\r\n", 400},
			{"another protocol", "GET / " + marker + "/1.1\r\nHost: x\r\n\r\n", 400},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				c := f.dial(t)
				c.write(t, test.message)
				c.end(t)
				if a := c.answer(t); a.status != test.status {
					t.Errorf("got %d %s, want %d", a.status, a.body, test.status)
				}
				f.createAny(t)
			})
		}
	})
	f.checkUnhurt(t)
}

// A good request is answered, whatever follows it.
func TestPipeline(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := `{"customer_id":"` + customerID + `"}`
	good := fmt.Sprintf("POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		f.secret, len(body), body)
	t.Run("attack", func(t *testing.T) {
		c := f.dial(t)
		c.write(t, good+good+marker+" garbage\r\n\r\n"+good)
		for i, want := range []int{http.StatusCreated, http.StatusCreated, http.StatusBadRequest} {
			if a := c.answer(t); a.status != want {
				t.Fatalf("answer %d: got %d %s, want %d", i+1, a.status, a.body, want)
			}
		}
		if rest := c.rest(t); len(rest) != 0 {
			t.Errorf("after the garbage came %q, want nothing", rest)
		}
	})
	f.checkUnhurt(t)
}

// What a body says of its length decides where the next request begins.
func TestNoSmuggling(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	hidden := "GET /" + marker + " HTTP/1.1\r\nHost: x\r\n\r\n"
	head := "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + f.secret + "\r\n"
	t.Run("attack", func(t *testing.T) {
		for name, message := range map[string]string{
			"length and chunks":         head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"refused before it is read": "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := f.dial(t)
				c.write(t, message+hidden)
				c.end(t)
				all := string(c.rest(t))
				// The hidden request is a body in one case; in the other one
				// the connection ends, or the request is what it seems to be.
				if n := strings.Count(all, "HTTP/1.1 "); n < 1 || n > 2 || strings.HasPrefix(name, "refused") && n != 1 {
					t.Errorf("got %d answers: %q", n, all)
				}
			})
		}
	})
	f.checkUnhurt(t)
}
