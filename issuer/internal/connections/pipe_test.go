package connections_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
)

// A piped connection says that it comes from an address.
type piped struct {
	net.Conn

	from net.Addr
}

func (p *piped) RemoteAddr() net.Addr { return p.from }

// A pipeClient sends requests on one connection.
type pipeClient struct {
	conn   net.Conn
	reader *bufio.Reader
}

func newPipeClient(c net.Conn) *pipeClient { return &pipeClient{c, bufio.NewReader(c)} }

// get sends a request with a header of some padding, and returns the status.
func (c *pipeClient) get(t *testing.T, padding string) int {
	t.Helper()
	// The server may answer before it has read all.
	go func() {
		_, _ = fmt.Fprintf(c.conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Padding: %s\r\n\r\n", padding)
	}()
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
