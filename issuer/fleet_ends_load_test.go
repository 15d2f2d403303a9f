package issuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
)

// The load, beside that of the revocations.
const (
	endingCreators = 2
	endingCreate   = 200 * time.Millisecond // each of them
	// visitEvery is how often each consumer sees one of all the sessions again.
	visitEvery = 50 * time.Millisecond
	// askEvery is how often a consumer sees a session that has just been ended.
	askEvery = 25 * time.Millisecond
)

// An endable is a session.
type endable struct {
	what  string // what it is there for
	token string

	mu sync.Mutex
	// ending is when the call that ends it began, ended when it was acknowledged,
	// and bound how long after that it may still be accepted.
	ending, ended time.Time
	bound         time.Duration
	refused       map[int]time.Time // when a consumer had refused it first
}

// begin means that the session may be refused from now on.
func (s *endable) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = time.Now()
}

// acknowledged means that the session must be refused when bound is over.
func (s *endable) acknowledged(at time.Time, bound time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.bound = at, bound
}

// startLoad creates sessions and shows all there are to consumers, until ctx is
// done.
func (f *endingFleet) startLoad(ctx context.Context) {
	f.begin("start", endingBound)
	for range endingCreators {
		f.working.Go(func() {
			every(ctx, endingCreate, func(int) {
				if s := f.create(ctx, "load", f.checkout.secret, f.customers[0]); s != nil {
					f.present(ctx, s)
				}
			})
		})
	}
	for _, g := range f.guards {
		f.working.Go(func() {
			every(ctx, visitEvery, func(int) {
				if s := f.anySession(); s != nil {
					f.show(ctx, g, s)
				}
			})
		})
	}
}

// anySession returns one of all sessions, ended ones included.
func (f *endingFleet) anySession() *endable {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) == 0 {
		return nil
	}
	return f.sessions[rand.IntN(len(f.sessions))]
}

// create creates a session, which must succeed at once. The result is nil if it
// does not.
func (f *endingFleet) create(ctx context.Context, what, secret, customer string) *endable {
	var session struct{ Token string }
	began := time.Now()
	status, err := f.call(ctx, http.MethodPost, "/v1/customer-sessions/", secret, fmt.Sprintf(`{"customer_id":%q}`, customer), &session)
	took := time.Since(began)
	if ctx.Err() != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.act.slowest = max(f.act.slowest, took)
	if err != nil || status != http.StatusCreated {
		f.act.lost++
		f.complain(f.act.lost, "creating a session (%s): status %d, %v", what, status, err)
		return nil
	}
	f.act.created++
	s := &endable{what: what, token: session.Token, refused: map[int]time.Time{}}
	f.sessions = append(f.sessions, s)
	return s
}

// call sends a request to the issuer. A body that begins with a brace is JSON, any
// other one a form.
func (f *endingFleet) call(ctx context.Context, method, path, bearer, body string, answer any) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, f.issuer+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("Content-Type", "application/json")
	if body != "" && !strings.HasPrefix(body, "{") {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := f.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response.StatusCode, err
	}
	if answer == nil || len(text) == 0 {
		return response.StatusCode, nil
	}
	return response.StatusCode, json.Unmarshal(text, answer)
}

// present shows a session to all consumers.
func (f *endingFleet) present(ctx context.Context, s *endable) {
	var showing sync.WaitGroup
	for _, g := range f.guards {
		showing.Go(func() { f.show(ctx, g, s) })
	}
	showing.Wait()
}

// show shows a session to a consumer, and judges the verdict. It returns when it did
// so, and whether the session was not accepted.
func (f *endingFleet) show(ctx context.Context, g *guard, s *endable) (before time.Time, denied bool) {
	before = time.Now()
	v, err := g.ask(ctx, s.token)
	if ctx.Err() != nil {
		return before, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.t.Errorf("%s: consumer %d (%s): %v", f.act.name, g.number, g.kind, err)
		return before, false
	}
	f.act.verifications++
	f.judge(g, s, v, before, "a request")
	return before, v != accepted
}

// judge holds a verdict, given at some time after before, against what it had to
// be.
func (f *endingFleet) judge(g *guard, s *endable, v verdict, before time.Time, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cutOff, blind := g.isCutOff(f.maxAge, before)
	first, known := s.refused[g.number]
	switch v {
	case accepted:
		late := !s.ended.IsZero() && before.After(s.ended.Add(s.bound))
		revived := known && before.After(first)
		if late || blind || revived {
			f.act.late++
			f.complain(f.act.late, "consumer %d (%s) accepts %s (%s) %v after the session's end was acknowledged, after it refused: %t; cut off for too long: %t",
				g.number, g.kind, what, s.what, before.Sub(s.ended), revived, blind)
		}
	case refused:
		if s.ending.IsZero() {
			f.act.wrong++
			f.complain(f.act.wrong, "consumer %d (%s) refuses %s of a valid session (%s)", g.number, g.kind, what, s.what)
		}
		if !known {
			s.refused[g.number] = time.Now()
		}
	case unavailable:
		if cutOff {
			f.act.unavailable++
			return
		}
		f.act.wrong++
		f.complain(f.act.wrong, "consumer %d (%s) cannot tell about %s (%s)", g.number, g.kind, what, s.what)
	}
}

// complain fails the test, and says why the first few times in an act.
func (f *endingFleet) complain(n int, format string, args ...any) {
	if n <= 5 {
		f.t.Errorf("%s, %s: %s", time.Now().UTC().Format("15:04:05.000"), f.act.name, fmt.Sprintf(format, args...))
	}
}

// A stream is a gRPC stream that a session opened.
type stream struct {
	guard *guard
	ended chan struct{} // closed when the stream has ended
	at    time.Time     // when it ended; read it afterwards
}

// openStreams opens a stream of a session to each consumer with gRPC. Each must
// stay open as long as the session lasts.
func (f *endingFleet) openStreams(ctx context.Context, s *endable) []*stream {
	var streams []*stream
	for _, g := range f.guards {
		if g.client == nil {
			continue
		}
		st := &stream{guard: g, ended: make(chan struct{})}
		streams = append(streams, st)
		before := time.Now()
		call, err := g.client.FullDuplexCall(withToken(ctx, s.token))
		if err == nil {
			_ = call.Send(&grpc_testing.StreamingOutputCallRequest{}) // what went wrong, Recv returns
			_, err = call.Recv()
		}
		if err != nil {
			f.streamEnded(ctx, st, s, err, before)
			continue
		}
		f.working.Go(func() {
			_, err := call.Recv()
			f.streamEnded(ctx, st, s, err, before)
		})
	}
	return streams
}

// streamEnded judges the end of a stream.
func (f *endingFleet) streamEnded(ctx context.Context, st *stream, s *endable, err error, before time.Time) {
	st.at = time.Now()
	close(st.ended)
	if ctx.Err() != nil {
		return
	}
	v, err := verdictOf(err)
	if err == nil && v == accepted {
		err = errors.New("it got a message that nobody asked for")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.t.Errorf("%s: a stream of consumer %d: %v", f.act.name, st.guard.number, err)
		return
	}
	f.judge(st.guard, s, v, before, "a stream")
}
