package issuer_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

const feedPath = wire.RevocationsPath

// withLog gives a fixture a log of revocations, and more changes.
func withLog(log revocations.Log, changes ...func(*issuer.Config)) func(*fixtureOptions) {
	return func(o *fixtureOptions) {
		o.change = func(c *issuer.Config) {
			c.Revocations = log
			for _, change := range changes {
				change(c)
			}
		}
	}
}

// feed asks the feed, once it has something to say.
func (f *fixture) feed(t testing.TB, query string) (*wire.Revocations, *answer) {
	t.Helper()
	for {
		a := f.do(t, http.MethodGet, feedPath+query, "")
		if a.status == http.StatusServiceUnavailable {
			continue // it has just started
		}
		if a.status != http.StatusOK {
			t.Fatalf("the feed answers %d %s", a.status, a.body)
		}
		var answer wire.Revocations
		if err := json.Unmarshal(a.body, &answer); err != nil {
			t.Fatal(err)
		}
		return &answer, a
	}
}

// appendSessions ends sessions in the log itself, as another replica would.
func appendSessions(t testing.TB, log revocations.Log, n int) {
	t.Helper()
	for range n {
		entry := revocations.Entry{Scope: revocations.Session, OrganizationID: uuid.MustParse(orgID), ID: uuid.NewString()}
		if _, err := log.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	appendSessions(t, log, 20)
	f := newFixture(t, withLog(log))
	all, a := f.feed(t, "?nonce=aZ09-_")
	if all.Issuer != f.base || !all.Enabled || all.Seq < 20 || all.After != 0 || all.MaxAge != 900 || all.Pause != 1 || len(all.Revoked) != 20 {
		t.Errorf("got %+v", all)
	}
	age, err := strconv.ParseFloat(a.header.Get(wire.RevocationsAge), 64)
	if err != nil || age < 0 || age > 1 {
		t.Errorf("age is %q", a.header.Get(wire.RevocationsAge))
	}
	if a.header.Get(wire.RevocationsNonce) != "aZ09-_" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got headers %v", a.header)
	}
	if _, a := f.feed(t, ""); a.header.Values(wire.RevocationsNonce) != nil {
		t.Errorf("a nonce that nobody sent: %v", a.header)
	}
	if delta, _ := f.feed(t, "?log="+all.Log+"&after=18"); delta.After != 18 || len(delta.Revoked) != 2 {
		t.Errorf("got %+v, want two after 18", delta)
	}
	start := time.Now()
	if a := f.do(t, http.MethodHead, feedPath+"?wait=20&after=20&log="+all.Log, ""); a.status != http.StatusOK || time.Since(start) > 10*time.Second {
		t.Errorf("HEAD: got %d after %v", a.status, time.Since(start))
	}
	for _, query := range []string{"after=-1", "after=x", "after=1e3", "wait=-1", "wait=NaN", "wait=Inf", "wait=x", "nonce=a%20b", "nonce=" + strings.Repeat("a", 65), "nonce=%0d%0a"} {
		if a := f.do(t, http.MethodGet, feedPath+"?"+query, ""); a.status != http.StatusBadRequest || a.text(t, "error") != "invalid_request" {
			t.Errorf("%s: got %d %s", query, a.status, a.body)
		}
	}
}

// A client that asks for gzip gets it, and nobody else.
func TestFeedGzip(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	appendSessions(t, log, 100)
	f := newFixture(t, withLog(log))
	all, plain := f.feed(t, "")
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for all.Seq == 100 { // until the version of the manifest is in the log too
		<-again.C
		all, plain = f.feed(t, "")
	}
	for accept, want := range map[string]string{
		"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "deflate, gzip ; q=1.0": "gzip", "gzip;q=0": "", "gzip;q=0.000": "", "br": "", "identity": "",
	} {
		request := f.request(t, http.MethodGet, feedPath, "", "Accept-Encoding", accept)
		a := roundTrip(t, request)
		if got := a.header.Get("Content-Encoding"); got != want || a.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: got %q, %v", accept, got, a.header)
		}
		body := a.body
		if want == "gzip" {
			reader, err := gzip.NewReader(strings.NewReader(string(a.body)))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
		if string(body) != string(plain.body) {
			t.Errorf("%s: got %.100s", accept, body)
		}
	}
}

// Without a log, the feed says that sessions cannot be ended, and nobody waits.
func TestFeedOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	start := time.Now()
	off, a := f.feed(t, "?wait=20&nonce=n")
	if off.Enabled || off.Log != "" || off.Seq != 0 || len(off.Revoked) != 0 || off.MaxAge != 900 || off.Pause < 10 || a.header.Get(wire.RevocationsNonce) != "n" {
		t.Errorf("got %s, %v", a.body, a.header)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A logSwitch is a log that can be away.
type logSwitch struct {
	revocations.Log

	mu   sync.Mutex
	away bool
}

func (l *logSwitch) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

var errLogAway = fmt.Errorf("%w: %s", revocations.ErrUnavailable, innards)

func (l *logSwitch) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errLogAway
	}
	return nil
}

// Read implements [revocations.Log].
func (l *logSwitch) Read(ctx context.Context, after revocations.Position) (revocations.Page, error) {
	if err := l.check(); err != nil {
		return revocations.Page{}, err
	}
	return l.Log.Read(ctx, after)
}

// Append implements [revocations.Log].
func (l *logSwitch) Append(ctx context.Context, e revocations.Entry) (revocations.Record, error) {
	if err := l.check(); err != nil {
		return revocations.Record{}, err
	}
	return l.Log.Append(ctx, e)
}

// Before a replica knows the log it sends consumers elsewhere.
func TestFeedUnavailable(t *testing.T) {
	t.Parallel()
	log := &logSwitch{Log: revocations.NewMemory(), away: true}
	f := newFixture(t, withLog(log))
	f.do(t, http.MethodGet, feedPath, "")
	a := <-f.wait(t, localhost, "").answer
	if a == nil || a.status != http.StatusServiceUnavailable || a.header.Get("Connection") != "close" || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", a)
	}
	log.set(false)
	f.feed(t, "")
}

// A waitingConsumer is a request to the feed that waits on a connection of its own.
type waitingConsumer struct {
	conn   net.Conn
	answer chan *answer // closed if the connection ends without one
}

// wait begins to wait for news, from an address.
func (f *fixture) wait(t testing.TB, from net.IP, query string, headers ...string) *waitingConsumer {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: startLimit}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	request := f.request(t, http.MethodGet, feedPath+query, "", headers...)
	if err := request.Write(conn); err != nil {
		t.Fatal(err)
	}
	w := &waitingConsumer{conn, make(chan *answer, 1)}
	go func() {
		defer close(w.answer)
		if a, err := readRawAnswer(conn); err == nil {
			w.answer <- a
		}
	}()
	return w
}

func readRawAnswer(conn net.Conn) (*answer, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.Close { // net/http takes the header away
		response.Header.Set("Connection", "close")
	}
	return &answer{response.StatusCode, response.Header, body}, err
}

func (w *waitingConsumer) get(t testing.TB) *wire.Revocations {
	t.Helper()
	select {
	case a := <-w.answer:
		if a == nil {
			t.Fatal("the connection ended without an answer")
		}
		var revoked wire.Revocations
		if err := json.Unmarshal(a.body, &revoked); err != nil || a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		return &revoked
	case <-time.After(startLimit):
		t.Fatal("there is no answer")
		return nil
	}
}

func (w *waitingConsumer) still(t testing.TB) {
	t.Helper()
	select {
	case a := <-w.answer:
		t.Fatalf("it does not wait: %+v", a)
	default:
	}
}

// untilWaiting waits until so many consumers wait.
func (f *fixture) untilWaiting(t testing.TB, want int) {
	t.Helper()
	deadline := time.Now().Add(startLimit)
	for {
		metrics := string(f.operationsGet(t, "/metrics"))
		if strings.Contains(metrics, fmt.Sprintf("\ncustomersession_revocation_feed_waiting %d\n", want)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %d consumers wait", want)
		}
	}
}

func (f *fixture) operationsGet(t testing.TB, path string) []byte {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	recorder := httptest.NewRecorder()
	f.server.Operations().ServeHTTP(recorder, request)
	return recorder.Body.Bytes()
}

// Consumers wait longer than a request may take otherwise, and are woken by news,
// at another replica too. One that leaves frees its place.
func TestFeedWait(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	change := func(o *fixtureOptions) { o.readTimeout = 50 * time.Millisecond }
	one, two := newFixture(t, withLog(log), change), newFixture(t, withLog(log), change)
	// Each may or may not have heard of the entry that servers make at their start.
	first, _ := one.feed(t, "")
	second, _ := two.feed(t, "")
	query := func(wait string, heard *wire.Revocations) string {
		return fmt.Sprintf("?wait=%s&after=%d&log=%s", wait, heard.Seq, heard.Log)
	}
	gone := one.wait(t, localhost, query("20", first))
	here, there := one.wait(t, localhost, query("20", first)), two.wait(t, localhost, query("20", second))
	one.untilWaiting(t, 2)
	_ = gone.conn.Close()
	one.untilWaiting(t, 1)
	// The time of a request to arrive passes, and more.
	asked := time.Now()
	short := one.wait(t, localhost, query("0.3", first))
	if got := short.get(t); len(got.Revoked) != 0 || time.Since(asked) < 300*time.Millisecond {
		t.Errorf("got %+v after %v, want nothing after 0.3s", got, time.Since(asked))
	}
	here.still(t)
	start := time.Now()
	appendSessions(t, log, 1)
	if got := here.get(t); len(got.Revoked) != 1 || got.Seq < 1 {
		t.Errorf("got %+v", got)
	}
	if got := there.get(t); len(got.Revoked) != 1 || got.Seq < 1 {
		t.Errorf("got %+v from the other replica", got)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the news took %v", took)
	}
	one.untilWaiting(t, 0)
}

// A consumer may wait for longer than a request may otherwise take to be answered.
func TestFeedLongWait(t *testing.T) {
	t.Parallel()
	wait := 1
	if needs.Exhaustive() {
		wait = 24
	}
	f := newFixture(t, withLog(revocations.NewMemory()))
	first, _ := f.feed(t, "")
	start := time.Now()
	w := f.wait(t, localhost, fmt.Sprintf("?wait=%d&after=0&log=%s", wait, first.Log))
	if got := w.get(t); len(got.Revoked) != 0 || time.Since(start) < time.Duration(wait)*time.Second {
		t.Errorf("got %+v after %v", got, time.Since(start))
	}
}

var localhost = net.IPv4(127, 0, 0, 1)

// A replica whose log is away lets nobody wait for what it cannot hear, so that
// consumers find another one, and answers them as before.
func TestFeedLogAway(t *testing.T) {
	t.Parallel()
	log := &logSwitch{Log: revocations.NewMemory()}
	f := newFixture(t, withLog(log))
	first, _ := f.feed(t, "")
	query := fmt.Sprintf("?wait=25&after=%d&log=%s", first.Seq, first.Log)
	w := f.wait(t, localhost, query)
	f.untilWaiting(t, 1)
	start := time.Now()
	log.set(true)
	for _, w := range []*waitingConsumer{w, f.wait(t, localhost, query)} {
		a := <-w.answer
		var got wire.Revocations
		if a == nil || a.status != http.StatusOK || a.header.Get("Connection") != "close" || json.Unmarshal(a.body, &got) != nil || got.Pause != 2 {
			t.Errorf("got %+v", a)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the answers took %v", took)
	}
}

// A server that ends answers those who wait, and none waits while it drains.
func TestFeedDrains(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	first, _ := f.feed(t, "")
	w := f.wait(t, localhost, fmt.Sprintf("?wait=25&after=%d&log=%s", first.Seq, first.Log))
	f.untilWaiting(t, 1)
	start := time.Now()
	f.shutdown()
	if a := <-w.answer; a == nil || a.status != http.StatusOK || a.header.Get("Connection") != "close" {
		t.Errorf("got %+v", a)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the server took %v to end", took)
	}
}

// 64 consumers of an address may wait. Those beyond are answered at once and sent
// away for longer; others still wait, and sessions are created all the while on the
// single connection that is left to them.
func TestFeedCrowd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory(), func(c *issuer.Config) { c.Connections, c.ConnectionsPerAddress = 2, 2 }))
	first, _ := f.feed(t, "")
	query := fmt.Sprintf("?wait=25&after=%d&log=%s", first.Seq, first.Log)
	mob := net.IPv4(127, 0, 7, 1)
	var crowd []*waitingConsumer
	for n := range 64 {
		crowd = append(crowd, f.wait(t, mob, query))
		f.untilWaiting(t, n+1)
	}
	over := f.wait(t, mob, query)
	if got := over.get(t); got.Pause != 5 {
		t.Errorf("pause is %d, want 5", got.Pause)
	}
	if _, err := over.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection of the one beyond: got %v, want its end", err)
	}
	f.wait(t, net.IPv4(127, 0, 7, 2), query)
	f.untilWaiting(t, 65)
	for range 10 {
		if status := f.createAlone(t); status != http.StatusCreated {
			t.Fatalf("creating a session: %d", status)
		}
	}
	for _, w := range crowd {
		w.still(t)
	}
}

// A replica asks consumers to come back at a rate that it can bear, however many
// there are: 2,000 a second. A few of them come back after a second each time.
func TestFeedPauses(t *testing.T) {
	t.Parallel()
	address := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
	}
	synctest.Test(t, func(t *testing.T) {
		next := issuer.Pauses(15 * time.Minute)
		for range 100 {
			for n := range 1000 {
				if pause := next(address(n), time.Second); pause != time.Second {
					t.Fatalf("one of a thousand has a pause of %v", pause)
				}
			}
			time.Sleep(time.Second)
		}
		// All of these hear of the same at once.
		back, different := 0, map[time.Duration]bool{}
		for n := range 20_000 {
			pause := next(address(n), time.Second)
			different[pause] = true
			if pause <= 4*time.Second {
				back++
			}
		}
		if back < 8_000 || back > 12_000 || len(different) > 6 {
			t.Errorf("%d of 20,000 are back within 4 seconds, after %d different pauses", back, len(different))
		}
		for n := range 100_000 {
			if pause := next(address(n), time.Second); pause > 30*time.Second {
				t.Fatalf("one pauses for %v", pause)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		next := issuer.Pauses(15 * time.Minute)
		for range 100_000 {
			next(address(1), time.Second)
		}
		if pause := next(address(2), time.Second); pause != time.Second {
			t.Errorf("a mob at one address makes others pause for %v", pause)
		}
		if pause := next(address(2), 5*time.Second); pause != 5*time.Second {
			t.Errorf("one that cannot wait pauses for %v", pause)
		}
		if pause := issuer.Pauses(10*time.Second)(address(2), 30*time.Second); pause != 2500*time.Millisecond {
			t.Errorf("with a maximum age of 10 s, the pause is %v", pause)
		}
	})
}

// Large answers are limited for each address, but not those of networks that stand
// for many clients. Small ones are not.
func TestFeedLimit(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	appendSessions(t, log, 100)
	f := newFixture(t, withLog(log, func(c *issuer.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("192.0.2.0/24")}
	}))
	ask := func(client string) *answer {
		return f.do(t, http.MethodGet, feedPath, "", "X-Forwarded-For", client)
	}
	f.feed(t, "")
	for range 30 {
		if a := ask("198.51.100.7"); a.status != http.StatusOK {
			t.Fatalf("a small answer: %d", a.status)
		}
	}
	appendSessions(t, log, 100)
	for heard := 0; heard < 200; {
		all, _ := f.feed(t, "")
		heard = len(all.Revoked)
	}
	limited, start := 0, time.Now()
	for range 40 {
		switch a := ask("198.51.100.7"); a.status {
		case http.StatusTooManyRequests:
			if a.header.Get("Retry-After") != "1" {
				t.Errorf("got %v", a.header)
			}
			limited++
		case http.StatusOK:
		default:
			t.Fatalf("got %d %s", a.status, a.body)
		}
		if a := ask("192.0.2.9"); a.status != http.StatusOK {
			t.Fatalf("an exempt network: %d", a.status)
		}
	}
	// Half of them at once, and one more for each second that a slow machine takes.
	if want := 19 - int(time.Since(start)/time.Second); limited < want {
		t.Errorf("%d of 40 were limited, want %d", limited, want)
	}
	if a := ask("198.51.100.8"); a.status != http.StatusOK {
		t.Errorf("another address: %d", a.status)
	}
	delta, _ := f.feed(t, "")
	if a := f.do(t, http.MethodGet, feedPath+fmt.Sprintf("?log=%s&after=%d", delta.Log, delta.Seq-1), "", "X-Forwarded-For", "198.51.100.7"); a.status != http.StatusOK {
		t.Errorf("a delta: %d", a.status)
	}
}
