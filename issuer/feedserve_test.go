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
	"strconv"
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
	check := startProgram(t, binary(t), append(i.env, env...), "serve", "--check")
	if code := check.wait(t); code != 1 || !strings.Contains(check.stderr.String(), "revocation log") {
		t.Errorf("the check: exit code %d, %s", code, check.stderr)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	one.find(t, one.stderr, `"msg":"(revocation log is back)"`)
	late.find(t, late.stderr, `"msg":"(revocation log is back)"`)
	late.public.wantActive(t, "the session", token, false)
	check = startProgram(t, binary(t), append(i.env, env...), "serve", "--check")
	if code := check.wait(t); code != 0 || !strings.Contains(check.stdout.String(), "the log answers, revocations: 1") {
		t.Errorf("the check: exit code %d, %s %s", code, check.stdout, check.stderr)
	}
}

// An audience is consumers that wait, each on a connection of its own, 64 from each
// address.
type audience struct {
	conns []net.Conn
}

// ask makes each of them wait for what comes after a number.
func (c *audience) ask(log string, after int64) error {
	request := fmt.Sprintf("GET %s?log=%s&after=%d&wait=25&nonce=n HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", feedPath, log, after)
	for n, conn := range c.conns {
		if _, err := io.WriteString(conn, request); err != nil {
			return fmt.Errorf("consumer %d: %w", n, err)
		}
	}
	return nil
}

// connect connects so many consumers.
func (c *audience) connect(ctx context.Context, addr string, consumers int, address func(n int) net.IP) error {
	for n := range consumers {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: address(n)}, Timeout: startLimit}
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("consumer %d: %w", n, err)
		}
		c.conns = append(c.conns, conn)
	}
	return nil
}

// spread gives 64 consumers each address.
func spread(n int) net.IP { return net.IPv4(127, 2, byte(n/64/250), byte(1+n/64%250)) }

// woken reads all answers, and returns the times until the first and the last of
// them.
func (c *audience) woken(t testing.TB, start time.Time) (first, last time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for n, conn := range c.conns {
		all.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(startLimit))
			response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
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

// untilWaiting waits until so many consumers wait at the server.
func (p *production) untilWaiting(t testing.TB, consumers int) {
	t.Helper()
	deadline := time.Now().Add(startLimit)
	for {
		metrics := p.operations.do(t, http.MethodGet, "/metrics", "").body
		waiting := samples(t, metrics, "customersession_revocation_feed_")["waiting"]
		if waiting == strconv.Itoa(consumers) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s consumers wait, want %d", waiting, consumers)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// endOne ends a session.
func (p *production) endOne(t testing.TB) {
	t.Helper()
	session := p.public.create(t, `{"customer_id":"`+customerID+`"}`)
	if a := p.public.revoke(t, p.secret, `{"session_id":"`+session.text(t, "id")+`"}`); a.status != http.StatusOK {
		t.Errorf("ending: %d %s", a.status, a.body)
	}
}

// Thousands of consumers wait, and are woken by each ended session. They need little
// memory, and none of the connections of those who create sessions.
//
// It does not run beside other tests: their connections would need more descriptors
// than a process has.
func TestServeWaiting(t *testing.T) {
	consumers := 1500
	if needs.Exhaustive() {
		consumers = 10_000
	}
	i := install(t, "https://sessions.example.com")
	p := serve(t, i, append(withLogFile(t, i), "CUSTOMERSESSION_KEY_RATE=0")...)
	p.endOne(t)
	c := &audience{}
	defer c.leave()
	heard, _ := p.public.feed(t, "")
	// Waiting consumers leave room for others, so they come a few hundred at a time.
	for len(c.conns) < consumers {
		few := &audience{}
		from := len(c.conns)
		err := few.connect(t.Context(), strings.TrimPrefix(p.public.base, "http://"), min(500, consumers-from), func(n int) net.IP { return spread(from + n) })
		c.conns = append(c.conns, few.conns...)
		if err == nil {
			err = few.ask(heard.Log, heard.Seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.untilWaiting(t, len(c.conns))
	}
	for range 20 {
		if status := p.public.createAlone(t); status != http.StatusCreated {
			t.Fatalf("creating a session: %d", status)
		}
	}
	for round := range 3 {
		before := residentKiB(t, p.process)
		var ending sync.WaitGroup
		start := time.Now()
		ending.Go(func() { p.endOne(t) })
		first, last := c.woken(t, start)
		ending.Wait()
		t.Logf("%d consumers: %d MiB while they wait, %d MiB at most; woken after %v to %v", consumers, before>>10,
			peakKiB(t, p.process)>>10, first.Round(time.Millisecond), last.Round(time.Millisecond))
		if round == 0 && before > 300<<10 {
			t.Errorf("%d KiB are resident while they wait, want at most 300 MiB", before)
		}
		if last > 2*time.Second {
			t.Errorf("the last consumer was woken after %v", last)
		}
		if round == 2 {
			break
		}
		heard, _ = p.public.feed(t, "")
		if err := c.ask(heard.Log, heard.Seq); err != nil {
			t.Fatal(err)
		}
		p.untilWaiting(t, consumers)
	}
	// What a wake leaves behind is collected later.
	if peak := peakKiB(t, p.process); peak > 450<<10 {
		t.Errorf("%d KiB were resident, want at most 450 MiB", peak)
	}
}

// Somebody who wants to wait on thousands of connections gets 64 places. Others wait,
// create and end sessions all the while. It does not run beside other tests, as the
// one above.
func TestServeWaitingMob(t *testing.T) {
	connections := 1000
	if needs.Exhaustive() {
		connections = 10_000
	}
	i := install(t, "https://sessions.example.com")
	p := serve(t, i, append(withLogFile(t, i), "CUSTOMERSESSION_KEY_RATE=0")...)
	heard, _ := p.public.feed(t, "")
	one := p.public.wait(t, spread(0), fmt.Sprintf("?wait=25&after=%d&log=%s", heard.Seq, heard.Log))
	p.untilWaiting(t, 1)
	attacked := make(chan error, 1)
	mob := &audience{}
	go func() {
		attacked <- func() error {
			for range connections {
				err := mob.connect(t.Context(), strings.TrimPrefix(p.public.base, "http://"), 1, func(int) net.IP { return net.IPv4(127, 3, 0, 1) })
				if err != nil {
					return err
				}
				last := &audience{conns: mob.conns[len(mob.conns)-1:]}
				_ = last.ask(heard.Log, 1<<40) // also more than there is
			}
			return nil
		}()
	}()
	for attacking := true; attacking; {
		if status := p.public.createAlone(t); status != http.StatusCreated {
			t.Fatalf("creating a session amid the mob: %d", status)
		}
		select {
		case err := <-attacked:
			if err != nil {
				t.Fatal(err)
			}
			attacking = false
		default:
		}
	}
	defer mob.leave()
	one.still(t)
	two := p.public.wait(t, spread(64), fmt.Sprintf("?wait=25&after=%d&log=%s", heard.Seq, heard.Log))
	p.endOne(t)
	for _, w := range []*waitingConsumer{one, two} {
		if got := w.get(t); len(got.Revoked) != 1 || got.Pause != 1 {
			t.Errorf("got %+v, want the ended session", got)
		}
	}
	if kib := peakKiB(t, p.process); kib > 256<<10 {
		t.Errorf("%d KiB were resident, want at most 256 MiB", kib)
	}
}
