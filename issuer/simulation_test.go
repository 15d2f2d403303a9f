package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

const (
	simulatedAge      = time.Minute // the max age
	simulatedReplicas = 2
)

// TestSimulation runs real issuers on one log and real verifiers, with links that
// fail, are slow and repeat old answers, through hours of trouble each. What the
// model in verify/internal/revocations proves of the rules must hold of the whole:
// what was ended is accepted nowhere after the maximal age, and nothing else is
// refused as ended.
func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds := 10
	if needs.Exhaustive() {
		seeds = 60
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed)) })
		})
	}
}

// A simulation is one run. Everything random comes from its seed.
type simulation struct {
	random    *rand.Rand
	log       atomic.Pointer[revocations.Memory]
	config    issuer.Config
	secret    string
	replicas  [simulatedReplicas]atomic.Pointer[simulatedReplica]
	consumers []*simulatedConsumer
	sessions  []*simulatedSession
	trouble   bool
	verified  map[string]int
}

// A simulatedSession is a session and what was done to it.
type simulatedSession struct {
	id, token, customer string
	made                time.Time
	// touched is set once an end of it was asked for, also if it was unanswered;
	// ended is when one was acknowledged first.
	touched bool
	ended   time.Time
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	f := &fixture{}
	registry, directory, ring := f.newRegistry(t), newDirectory(t), ringOf(t, newManifest(t, jwk.EdDSA), nil)
	s := &simulation{
		random: rand.New(rand.NewPCG(seed, 0)), secret: f.secret, trouble: true,
		config: issuer.Config{
			Issuer: "https://sessions.example.com", Customers: directory, MaxRevocationAge: simulatedAge,
			Keys: func() *keys.Ring { return ring }, Organizations: func() *organizations.Registry { return registry },
		},
		verified: map[string]int{},
	}
	s.log.Store(revocations.NewMemory())
	for i := range s.replicas {
		s.replicas[i].Store(s.startReplica(t))
	}
	for i := range 3 {
		c := &simulatedConsumer{simulation: s, random: rand.New(rand.NewPCG(seed, uint64(i+1))), address: fmt.Sprintf("192.0.2.%d:1", i+1)}
		if i > 0 {
			c.snapshot = filepath.Join(t.TempDir(), "snapshot")
		}
		c.start(t)
		s.consumers = append(s.consumers, c)
	}
	defer s.stop()
	for range 150 {
		time.Sleep(time.Duration(s.random.Int64N(int64(20 * time.Second))))
		s.act(t)
		s.check(t)
	}
	s.heal()
	time.Sleep(2 * simulatedAge)
	s.check(t)
	t.Log(s.verified)
}

func (s *simulation) stop() {
	for _, c := range s.consumers {
		c.verifier.Close()
	}
	for i := range s.replicas {
		s.replicas[i].Load().stop()
	}
}

// act lets something happen.
func (s *simulation) act(t *testing.T) {
	t.Helper()
	replica := s.replicas[s.random.IntN(len(s.replicas))].Load()
	consumer := s.consumers[s.random.IntN(len(s.consumers))]
	switch s.random.IntN(12) {
	case 0, 1, 2:
		s.create(t, replica)
	case 3, 4:
		s.endOne(t, replica)
	case 5:
		if s.random.IntN(3) == 0 {
			s.endAll(t, replica)
		}
	case 6:
		replica.log.cut.Store(s.random.IntN(3) == 0)
	case 7:
		consumer.cut.Store(s.random.IntN(3) == 0)
	case 8:
		consumer.slow.Store(s.random.IntN(2) == 0)
	case 9:
		i := s.random.IntN(len(s.replicas))
		s.replicas[i].Load().stop()
		s.replicas[i].Store(s.startReplica(t))
	case 10:
		consumer.verifier.Close()
		consumer.start(t)
	default:
		if s.random.IntN(3) == 0 {
			s.lose()
		}
	}
}

// lose replaces the log by an empty one, of another incarnation. What was promised
// until then is not any more, but may hold.
func (s *simulation) lose() {
	s.log.Store(revocations.NewMemory())
	for _, session := range s.sessions {
		session.ended = time.Time{}
	}
}

// heal makes all links good.
func (s *simulation) heal() {
	s.trouble = false
	for i := range s.replicas {
		s.replicas[i].Load().log.cut.Store(false)
	}
	for _, c := range s.consumers {
		c.cut.Store(false)
		c.slow.Store(false)
	}
}

func (s *simulation) create(t *testing.T, r *simulatedReplica) {
	t.Helper()
	customer := []string{customerID, otherCustomerID}[s.random.IntN(2)]
	made := time.Now()
	a := r.do(t, http.MethodPost, createPath, `{"customer_id":"`+customer+`"}`, s.secret)
	if a.status != http.StatusCreated {
		t.Fatalf("creating: got %d %s", a.status, a.body)
	}
	s.sessions = append(s.sessions, &simulatedSession{id: a.text(t, "id"), token: a.text(t, "token"), customer: customer, made: made})
}

// endOne ends a session.
func (s *simulation) endOne(t *testing.T, r *simulatedReplica) {
	t.Helper()
	if len(s.sessions) == 0 {
		return
	}
	session := s.sessions[s.random.IntN(len(s.sessions))]
	for _, other := range s.sessions {
		if other.touched && other.ended.IsZero() && s.random.IntN(2) == 0 {
			session = other // again: it failed, or was lost
		}
	}
	session.touched = true
	a := r.do(t, http.MethodDelete, "/v1/customer-sessions/"+session.id, "", s.secret)
	s.answered(t, a, http.StatusNoContent, func(other *simulatedSession) bool { return other == session })
}

// endAll ends all sessions of a customer.
func (s *simulation) endAll(t *testing.T, r *simulatedReplica) {
	t.Helper()
	asked := time.Now()
	earlier := func(other *simulatedSession) bool { return other.customer == customerID && !other.made.After(asked) }
	for _, session := range s.sessions {
		session.touched = session.touched || earlier(session)
	}
	a := r.do(t, http.MethodPost, "/v1/customer-sessions/revoke", `{"customer_id":"`+customerID+`"}`, s.secret)
	s.answered(t, a, http.StatusOK, earlier)
	// A replica that is cut off from the log may issue sessions that are dead.
	time.Sleep(4 * time.Second)
}

// answered notes what was acknowledged.
func (s *simulation) answered(t *testing.T, a *answer, want int, ends func(*simulatedSession) bool) {
	t.Helper()
	switch a.status {
	case want:
		for _, session := range s.sessions {
			if ends(session) && session.ended.IsZero() {
				session.ended = time.Now()
			}
		}
	case http.StatusServiceUnavailable:
	default:
		t.Fatalf("ending: got %d %s", a.status, a.body)
	}
}

// check has every consumer judge sessions.
func (s *simulation) check(t *testing.T) {
	t.Helper()
	for i, c := range s.consumers {
		for _, session := range s.sessions[max(0, len(s.sessions)-10):] {
			at := time.Now()
			_, err := c.verifier.Verify(t.Context(), session.token)
			switch {
			case err == nil && !session.ended.IsZero() && at.After(session.ended.Add(simulatedAge)):
				t.Fatalf("consumer %d accepts a session %v after its end", i, at.Sub(session.ended))
			case err == nil:
				s.verified["accepted"]++
			case errors.Is(err, verify.ErrRevoked) && session.touched:
				s.verified["ended"]++
			case errors.Is(err, verify.ErrRevocationsUnavailable) && s.trouble, errors.Is(err, verify.ErrKeysUnavailable) && s.trouble:
				s.verified["unavailable"]++
			case errors.Is(err, verify.ErrExpired):
			default:
				t.Fatalf("consumer %d refuses a session that was ended: %v, links fail: %v: %v", i, session.touched, s.trouble, err)
			}
		}
	}
}

// A cutLog is a replica's way to the log.
type cutLog struct {
	log *atomic.Pointer[revocations.Memory]
	cut atomic.Bool
}

func (l *cutLog) Append(ctx context.Context, e revocations.Entry) (revocations.Record, error) {
	if l.cut.Load() {
		<-ctx.Done()
		return revocations.Record{}, revocations.ErrUnavailable
	}
	return l.log.Load().Append(ctx, e)
}

func (l *cutLog) Read(ctx context.Context, after revocations.Position) (revocations.Page, error) {
	if l.cut.Load() {
		<-ctx.Done()
		return revocations.Page{}, revocations.ErrUnavailable
	}
	return l.log.Load().Read(ctx, after)
}

func (*cutLog) Close() {}

// A simulatedReplica is an issuer without sockets.
type simulatedReplica struct {
	handler http.Handler
	log     *cutLog
	stop    func()
}

func (s *simulation) startReplica(t *testing.T) *simulatedReplica {
	t.Helper()
	r := &simulatedReplica{log: &cutLog{log: &s.log}}
	config := s.config
	config.Revocations = r.log
	server, err := issuer.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.handler = server.Handler()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx, issuer.RunConfig{Public: newSilence()}); err != nil {
			t.Error(err)
		}
	})
	r.stop = func() {
		cancel()
		running.Wait()
	}
	return r
}

func (r *simulatedReplica) do(t *testing.T, method, path, body, secret string) *answer {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+secret)
	return ask(t, r.handler, request)
}

// A silence is a listener to which nobody connects.
type silence struct {
	closed chan struct{}
	once   sync.Once
}

func newSilence() *silence { return &silence{closed: make(chan struct{})} }

func (s *silence) Accept() (net.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s *silence) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (*silence) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// A simulatedConsumer is a verifier, and the transport to the replicas.
type simulatedConsumer struct {
	simulation *simulation
	verifier   *verify.Verifier
	snapshot   string
	address    string
	cut, slow  atomic.Bool

	mu        sync.Mutex
	random    *rand.Rand
	connected int
	copies    []*http.Response // with bodies that have been read
	bodies    []string
}

func (c *simulatedConsumer) start(t *testing.T) {
	t.Helper()
	var err error
	c.verifier, err = verify.New(verify.Config{
		Issuer: c.simulation.config.Issuer, Audience: issuer.DefaultAudience, SnapshotFile: c.snapshot,
		HTTPClient: &http.Client{Transport: c},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// chance reports true once in n times.
func (c *simulatedConsumer) chance(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n) == 0
}

// pause takes a while, if the link is slow.
func (c *simulatedConsumer) pause() {
	if !c.slow.Load() {
		return
	}
	c.mu.Lock()
	d := time.Duration(c.random.Int64N(int64(8 * time.Second)))
	c.mu.Unlock()
	time.Sleep(d)
}

// RoundTrip asks the replica that the consumer is connected to, and connects to
// another one after a failure.
func (c *simulatedConsumer) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.cut.Load() {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	c.pause()
	feed := request.URL.Path == feedPath
	if feed && c.slow.Load() && c.chance(3) {
		if old := c.copyOf(request); old != nil {
			return old, nil
		}
	}
	c.mu.Lock()
	replica := c.simulation.replicas[c.connected].Load()
	c.mu.Unlock()
	inner := httptest.NewRequestWithContext(request.Context(), request.Method, request.URL.RequestURI(), http.NoBody)
	inner.Header, inner.RemoteAddr = request.Header.Clone(), c.address
	recorder := httptest.NewRecorder()
	replica.handler.ServeHTTP(recorder, inner)
	response := recorder.Result()
	response.Request = request
	c.mu.Lock()
	if response.StatusCode >= http.StatusInternalServerError {
		c.connected = (c.connected + 1) % simulatedReplicas
	} else if feed {
		body, _ := io.ReadAll(response.Body)
		response.Body = io.NopCloser(strings.NewReader(string(body)))
		kept := *response
		c.copies, c.bodies = append(c.copies, &kept), append(c.bodies, string(body))
	}
	c.mu.Unlock()
	c.pause()
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	return response, nil
}

// copyOf returns an answer to an earlier request, as a cache might.
func (c *simulatedConsumer) copyOf(request *http.Request) *http.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.copies) == 0 {
		return nil
	}
	i := c.random.IntN(len(c.copies))
	old := *c.copies[i]
	old.Request, old.Body = request, io.NopCloser(strings.NewReader(c.bodies[i]))
	return &old
}
