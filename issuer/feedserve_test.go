package issuer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// withLogFile makes a log of revocations in a file, and returns the settings that
// name it.
func withLogFile(t testing.TB, i *installation) []string {
	t.Helper()
	path := filepath.Join(i.dir, "revocations.jsonl")
	if p := start(t, nil, "revocations", "init", "--file", path); p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	return []string{"CUSTOMERSESSION_REVOCATIONS=file", "CUSTOMERSESSION_REVOCATIONS_FILE=" + path}
}

// Two servers share a log in a file. It may go away and come back; a check says how
// it stands.
func TestServeRevocations(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	env := withLogFile(t, i)
	one, two := serve(t, i, env...), serve(t, i, env...)
	session := one.public.create(t, `{"customer_id":"`+customerID+`"}`)
	token := session.text(t, "token")
	two.public.wantActive(t, "the session", token, true)
	if a := one.public.revoke(t, i.secret, `{"session_id":"`+session.text(t, "id")+`"}`); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	one.public.wantActive(t, "the session", token, false)
	deadline := time.Now().Add(time.Second)
	for two.public.portal(t, "introspect", token).status != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("the session lives on at the other server")
		}
	}

	path := filepath.Join(i.dir, "revocations.jsonl")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	one.find(t, one.stderr, `"msg":"(revocation log is away)"`)
	if a := one.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK || !strings.Contains(string(a.body), "revocation log: away") {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	one.public.create(t, `{"customer_id":"`+customerID+`"}`)
	late := serve(t, i, env...) // it starts all the same
	late.public.create(t, `{"customer_id":"`+customerID+`"}`)
	check := startProgram(t, mustBinary(t), append(i.env, env...), "serve", "--check")
	if code := check.wait(t); code != 1 || !strings.Contains(check.stderr.String(), "revocation log") {
		t.Errorf("the check: exit code %d, %s", code, check.stderr)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	one.find(t, one.stderr, `"msg":"(revocation log is back)"`)
	late.find(t, late.stderr, `"msg":"(revocation log is back)"`)
	late.public.wantActive(t, "the session", token, false)
	check = startProgram(t, mustBinary(t), append(i.env, env...), "serve", "--check")
	if code := check.wait(t); code != 0 || !strings.Contains(check.stdout.String(), "the log answers, revocations: 1") {
		t.Errorf("the check: exit code %d, %s %s", code, check.stdout, check.stderr)
	}
}

func mustBinary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// An audience is consumers that wait, each on a connection of its own, 64 from each
// address.
type audience struct {
	conns []net.Conn
}

// wait makes consumers wait for what comes after a number.
func (c *audience) wait(ctx context.Context, addr, log string, after int64, consumers int) error {
	request := fmt.Sprintf("GET %s?log=%s&after=%d&wait=25&nonce=n HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", feedPath, log, after)
	for n := range consumers {
		address := net.IPv4(127, 2, byte(n/64/250), byte(1+n/64%250))
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: address}, Timeout: startLimit}
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("consumer %d: %w", n, err)
		}
		c.conns = append(c.conns, conn)
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
	}
	return nil
}

// woken reads all answers, and returns the times until the first and the last of
// them.
func (c *audience) woken(t testing.TB, start time.Time) (first, last time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for n, conn := range c.conns {
		all.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(startLimit))
			response, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
			if err != nil {
				t.Errorf("consumer %d: %v", n, err)
				return
			}
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if first == 0 {
				first = took
			}
			last = max(last, took)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("consumer %d: %s, %v", n, response.Status, err)
			}
		})
	}
	all.Wait()
	return first, last
}

func (c *audience) leave() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// Thousands of consumers wait, and are woken by one ended session. They need little
// memory, and none of the connections of those who create sessions.
func TestServeWaiting(t *testing.T) {
	t.Parallel()
	consumers := 1000
	if needs.Exhaustive() {
		consumers = 10_000
	}
	i := install(t, "https://sessions.example.com")
	p := serve(t, i, append(withLogFile(t, i), "CUSTOMERSESSION_KEY_RATE=0")...)
	first, _ := p.public.feed(t, "")
	c := &audience{}
	defer c.leave()
	if err := c.wait(t.Context(), strings.TrimPrefix(p.public.base, "http://"), first.Log, first.Seq, consumers); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(startLimit)
	for waiting := fmt.Sprintf("\ncustomersession_revocation_feed_waiting %d\n", consumers); ; time.Sleep(10 * time.Millisecond) {
		metrics := string(p.operations.do(t, http.MethodGet, "/metrics", "").body)
		if strings.Contains(metrics, waiting) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all consumers wait: %v", samples(t, []byte(metrics), "customersession_revocation_feed_waiting"))
		}
	}
	for range 20 {
		if status := p.public.createAlone(t); status != http.StatusCreated {
			t.Fatalf("creating a session: %d", status)
		}
	}
	waitingKiB := residentKiB(t, p.process)
	session := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "id")
	start := time.Now()
	var ending sync.WaitGroup
	ending.Go(func() {
		if a := p.public.revoke(t, i.secret, `{"session_id":"`+session+`"}`); a.status != http.StatusOK {
			t.Errorf("ending: %d %s", a.status, a.body)
		}
	})
	firstWoken, lastWoken := c.woken(t, start)
	ending.Wait()
	peak := peakKiB(t, p.process)
	t.Logf("%d consumers: %d MiB while they wait, %d MiB at most; woken after %v to %v",
		consumers, waitingKiB>>10, peak>>10, firstWoken.Round(time.Millisecond), lastWoken.Round(time.Millisecond))
	if peak > 300<<10 {
		t.Errorf("%d KiB were resident, want at most 300 MiB", peak)
	}
	if lastWoken > 2*time.Second {
		t.Errorf("the last consumer was woken after %v", lastWoken)
	}
}
