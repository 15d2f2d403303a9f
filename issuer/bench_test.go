package issuer_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// BenchmarkCreate compares creating a session, over real loopback connections
// and with audit log and metrics on, with two other Echo servers:
//
//   - bare: decodes the body, makes one raw ES256 signature, and writes a
//     fixed answer of the same size;
//   - article: what most articles show, Bind, map claims and a map as JSON.
//
// The machine's speed drifts, so the servers take turns and the figures that
// count are the ratios of throughput.
func BenchmarkCreate(b *testing.B) {
	f := newFixture(b, func(o *fixtureOptions) {
		// Not the handler that discards: making the lines is to be measured.
		o.logger = slog.New(slog.NewJSONHandler(struct{ io.Writer }{io.Discard}, nil))
	})
	answer := f.create(b, `{"customer_id":"`+customerID+`"}`).body
	servers := []struct {
		name string
		base string
		took time.Duration
	}{
		{name: "ours", base: f.base},
		{name: "bare", base: listenAndServe(b, bareHandler(b, answer))},
		{name: "article", base: listenAndServe(b, articleHandler(b))},
	}
	const batch = 200
	for b.Loop() {
		for i := range servers {
			start := time.Now()
			load(b, servers[i].base, f.secret, 2, batch)
			servers[i].took += time.Since(start)
		}
	}
	ours := servers[0].took
	for _, s := range servers {
		b.ReportMetric(float64(s.took.Microseconds())/float64(b.N*2*batch), s.name+"-µs/session")
		if s.took != ours {
			b.ReportMetric(100*float64(s.took)/float64(ours), "%-of-"+s.name)
		}
	}
	b.ReportMetric(0, "ns/op") // a batch on three servers: of no use to anybody
}

func listenAndServe(b *testing.B, handler http.Handler) (base string) {
	b.Helper()
	listener, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// bareHandler is about the least that a server can do.
func bareHandler(b *testing.B, answer []byte) http.Handler {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	e := echo.New()
	e.POST("/v1/customer-sessions/", func(c echo.Context) error {
		var request struct {
			CustomerID string `json:"customer_id"`
		}
		if err := json.NewDecoder(c.Request().Body).Decode(&request); err != nil {
			return err
		}
		sum := sha256.Sum256(answer)
		if _, err := ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(answer)))
		return c.Blob(http.StatusCreated, echo.MIMEApplicationJSON, answer)
	})
	return e
}

// articleHandler does what articles do, without looking anybody up.
func articleHandler(b *testing.B) http.Handler {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	e := echo.New()
	e.POST("/v1/customer-sessions/", func(c echo.Context) error {
		var request struct {
			CustomerID string `json:"customer_id"`
		}
		if err := c.Bind(&request); err != nil {
			return err
		}
		now, id := time.Now(), uuid.NewString()
		token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://sessions.example.com", "aud": "customer-portal", "sub": request.CustomerID, "sid": id,
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "scope": "customer_portal:write",
		}).SignedString(key)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, map[string]any{
			"created_at": now, "modified_at": nil, "id": id, "token": token, "expires_at": now.Add(time.Hour),
			"return_url": nil, "customer_portal_url": "https://portal.example.com/?customer_session_token=" + token,
			"customer_id": request.CustomerID,
			"customer":    map[string]any{"id": request.CustomerID, "email": "ada@example.com", "metadata": map[string]any{}},
		})
	})
	return e
}

// load sends n requests on each of some connections, with a client that does
// next to nothing, so that the servers are what is measured.
func load(b *testing.B, base, secret string, connections, n int) {
	b.Helper()
	body := `{"customer_id":"` + customerID + `"}`
	request := fmt.Appendf(nil, "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", secret, len(body), body)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			if err := send(b.Context(), strings.TrimPrefix(base, "http://"), request, n); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func send(ctx context.Context, addr string, request []byte, n int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for range n {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := discardAnswer(reader); err != nil {
			return err
		}
	}
	return nil
}

// discardAnswer reads one 201 with a Content-Length.
func discardAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 201")) {
			return fmt.Errorf("answer begins with %q", line)
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && string(name) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	_, err := r.Discard(length)
	return err
}
