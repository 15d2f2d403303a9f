package scaling_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/deploy/rig/needs"
	service "github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/command"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// A feedRun is real verifiers that follow real issuers, in a bubble.
type feedRun struct {
	*feedScenario

	replicas []http.Handler

	mu       sync.Mutex
	counts   *tally
	appended []time.Time // when each session was ended
	others   int         // entries of the log that are about the issuer itself
}

// measureFeed counts what n real verifiers ask of the feed of real issuers.
func measureFeed(t *testing.T, s *feedScenario, n int) *tally {
	t.Helper()
	settings := feedSettings(t)
	run := &feedRun{feedScenario: s, counts: newTally(&s.scenario)}
	synctest.Test(t, func(t *testing.T) {
		var issuers, all sync.WaitGroup
		ctx, stop := context.WithCancel(context.Background())
		for range s.replicas {
			run.startIssuer(ctx, t, settings, &issuers)
		}
		for i := range s.live {
			time.Sleep(time.Until(s.start.Add(time.Duration(i-s.live) * time.Second)))
			run.revoke(t)
		}
		run.countOthers()
		time.Sleep(time.Until(s.start))
		for _, at := range s.entries {
			all.Go(func() {
				time.Sleep(time.Until(at))
				run.revoke(t)
			})
		}
		for i := range n {
			all.Go(func() {
				time.Sleep(s.spread / time.Duration(n) * time.Duration(i))
				time.Sleep(upTo(s.spread / time.Duration(n)))
				run.follow(t, i)
			})
		}
		all.Wait()
		stop()
		issuers.Wait()
	})
	return run.counts
}

// feedOrganizations is how many organizations end sessions, one after the other,
// so that none meets its limits.
const feedOrganizations = 100

// feedSecret returns the API key of an organization, which has a checksum.
func feedSecret(organization int) string {
	digits := fmt.Sprintf("%043d", organization)
	check := big.NewInt(int64(crc32.ChecksumIEEE([]byte(digits)))).Text(62)
	return "csk_" + digits + strings.Repeat("0", 6-len(check)) + check
}

// feedSettings writes the files of an service.
func feedSettings(t *testing.T) service.Settings {
	t.Helper()
	manifest, err := keys.Init(keys.DefaultPolicy(), epoch(), true)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	var organizations []string
	for i := range feedOrganizations {
		organizations = append(organizations, fmt.Sprintf(`{"id":%q,"slug":"o%d","portal_url":"https://portal.example.com",
			"api_keys":[{"name":"test","secret_sha256":"%x","scopes":["customer_sessions:revoke"]}]}`,
			uuid.NewString(), i, sha256.Sum256([]byte(feedSecret(i)))))
	}
	log := file("revocations.jsonl", nil)
	initLog(t, log)
	return service.Settings{
		Issuer: testIssuer, Audience: testAudience, Customers: "request",
		SessionLifetime: time.Hour, MaxSessionLifetime: 24 * time.Hour,
		KeysFile: file("keys.json", manifest.Encode()), OrganizationsFile: file("organizations.json", []byte(`{"organizations":[`+strings.Join(organizations, ",")+`]}`)),
		Revocations: "file", RevocationsFile: log, RevocationsMaxAge: feedMaxAge,
	}
}

// initLog makes a log in a file, by the command for it.
func initLog(t *testing.T, path string) {
	t.Helper()
	for _, c := range command.New(command.ReadBuild("", "")) {
		if c.Name() == "revocations" {
			c.SetArgs([]string{"init", "--file", path})
			c.SetErr(io.Discard)
			if err := c.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("there is no command that makes a log")
}

// startIssuer runs another replica until ctx is done.
func (f *feedRun) startIssuer(ctx context.Context, t *testing.T, settings service.Settings, running *sync.WaitGroup) {
	t.Helper()
	time.Sleep(upTo(feedInterval))
	server, err := service.Open(ctx, settings, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.replicas = append(f.replicas, server.Handler())
	running.Go(func() {
		if err := server.Run(ctx, service.RunConfig{Public: newDeaf()}); err != nil {
			t.Error(err)
		}
	})
}

// A deaf listener accepts nothing until it is closed.
type deaf struct {
	closed <-chan struct{}
	close  func()
}

func newDeaf() deaf {
	ctx, cancel := context.WithCancel(context.Background())
	return deaf{ctx.Done(), cancel}
}

// Accept implements [net.Listener].
func (d deaf) Accept() (net.Conn, error) {
	<-d.closed
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (d deaf) Close() error {
	d.close()
	return nil
}

// Addr implements [net.Listener].
func (d deaf) Addr() net.Addr { return &net.TCPAddr{} }

// revoke ends a session, at the first replica.
func (f *feedRun) revoke(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	secret := feedSecret(len(f.appended) % feedOrganizations)
	f.appended = append(f.appended, time.Now())
	f.mu.Unlock()
	request := httptest.NewRequest(http.MethodDelete, "/v1/customer-sessions/"+uuid.NewString(), http.NoBody)
	request.Header.Set("Authorization", "Bearer "+secret)
	recorder := httptest.NewRecorder()
	f.replicas[0].ServeHTTP(recorder, request)
	if recorder.Code != http.StatusNoContent {
		t.Errorf("ending a session: got %d %s", recorder.Code, recorder.Body)
	}
}

// countOthers counts what replicas have noted for themselves by now.
func (f *feedRun) countOthers() {
	recorder := httptest.NewRecorder()
	f.replicas[0].ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, wire.RevocationsPath, http.NoBody))
	f.others = seqOf(recorder) - len(f.appended)
}

// follow is a consumer from now on.
func (f *feedRun) follow(t *testing.T, number int) {
	t.Helper()
	transport := &feedTransport{
		feedRun: f, started: time.Now(), replica: rand.IntN(len(f.replicas)),
		address: fmt.Sprintf("10.0.%d.%d:1", number/max(f.sharing, 1)/256, number/max(f.sharing, 1)%256),
	}
	v, err := verify.New(verify.Config{
		Issuer: testIssuer, Audience: testAudience, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer v.Close()
	ctx, cancel := context.WithDeadline(t.Context(), f.end)
	defer cancel()
	_ = v.Ready(ctx) // at the end of the scenario it may not be
	<-ctx.Done()
}

// A feedTransport is the connection of one consumer, which a load balancer took to
// some replica.
type feedTransport struct {
	*feedRun

	started time.Time
	address string
	replica int
}

// RoundTrip implements [http.RoundTripper]. It takes no time but what the handler
// waits.
func (f *feedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if f.down.from.After(time.Now()) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, f.down.from)
		defer cancel()
	}
	request = request.Clone(ctx)
	request.RemoteAddr, request.RequestURI = f.address, request.URL.RequestURI()
	recorder := httptest.NewRecorder()
	down := f.down.contains(time.Now())
	if !down {
		f.replicas[f.replica].ServeHTTP(recorder, request)
		down = f.down.contains(time.Now())
	}
	response := recorder.Result()
	if down || response.Close || response.Header.Get("Connection") == "close" {
		f.replica = rand.IntN(len(f.replicas))
	}
	if request.URL.Path == wire.RevocationsPath && request.Context().Err() != context.Canceled {
		f.count(request, recorder, down)
	}
	if down {
		return nil, io.ErrUnexpectedEOF
	}
	return response, nil
}

// count counts an answer, or a failure.
func (f *feedTransport) count(request *http.Request, recorder *httptest.ResponseRecorder, down bool) {
	now := time.Now()
	if now.Before(f.start) || !now.Before(f.end) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if down || recorder.Code != http.StatusOK {
		f.counts.add(now, 0)
		return
	}
	f.counts.add(now, wireSize(http.StatusOK, recorder.Header(), recorder.Body.Len()))
	after, err := strconv.Atoi(request.URL.Query().Get("after"))
	if err != nil || after == 0 {
		f.counts.delay(now, now.Sub(f.started))
		return
	}
	if seq := seqOf(recorder); seq > after {
		f.counts.delay(now, now.Sub(f.appended[after-f.others]))
	}
}

// seqOf returns the number of the last entry that an answer takes into account.
func seqOf(recorder *httptest.ResponseRecorder) int {
	var body io.Reader = bytes.NewReader(recorder.Body.Bytes())
	if recorder.Header().Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return 0
		}
		body = unpacked
	}
	var answer struct{ Seq int }
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return 0
	}
	return answer.Seq
}

// The model of the feed is right if real verifiers that follow real issuers do as
// it says: see TestModel. They also hear of as many revocations, as soon.
func TestFeedModel(t *testing.T) {
	t.Parallel()
	numbers := []int{100}
	if needs.Exhaustive() && !needs.Race() {
		numbers = []int{10, 1000}
	}
	all := feedScenarios(3)
	for _, c := range crowds() {
		if c.following.sharing > 1 && (c.following.replicas <= 3 || needs.Exhaustive()) {
			all = append(all, c.following, c.starting)
		}
	}
	for _, s := range all {
		t.Run(fmt.Sprintf("%s, %d replicas", s.name, s.replicas), func(t *testing.T) {
			t.Parallel()
			for _, n := range numbers {
				compareFeed(t, s, n)
			}
		})
	}
	if needs.Exhaustive() && !needs.Race() {
		t.Run("One revocation a second, too many consumers for a second", func(t *testing.T) {
			t.Parallel()
			compareFeed(t, oneASecond(1), 3000)
		})
	}
}

func compareFeed(t *testing.T, s *feedScenario, n int) {
	t.Helper()
	// Appending takes time.
	s.live, s.entries = min(s.live, 200), s.entries[:min(len(s.entries), 1000)]
	// Replicas wait a moment for the lock of the file, so that entries come later than
	// in the model, and a request may be in another window.
	const allowed = 0.01
	compareLoads(t, s.windows, n, allowed, measureFeed(t, s, n), func(seed uint64) *tally { return simulateFeed(s, n, seed) })
}
