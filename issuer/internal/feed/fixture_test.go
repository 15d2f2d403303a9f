package feed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

const (
	maxAge   = 15 * time.Minute
	customer = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	member   = "0b8f6c1d-53a4-4f0e-9f6b-7d1c2e3f4a5b"
	client   = "PhZvuTYM"
)

var (
	organization = uuid.MustParse("1dbfc517-0bbf-4301-9ba8-555ca42b9737")
	other        = uuid.MustParse("2ecfd628-1ccf-4412-acb9-666db53c0848")
)

// A log is a log in memory that may be away, slow, or replaced by another one.
type log struct {
	mu     sync.Mutex
	memory *revocations.Memory
	err    error         // of every call
	slow   time.Duration // for Append
	late   time.Duration // of the answers to Read
	ahead  time.Duration // of its clock
	hang   chan struct{} // every call waits until it is closed, and for nothing else
	reads  int
	writes int
}

func newLog() *log { return &log{memory: revocations.NewMemory()} }

// set changes how the log behaves.
func (l *log) set(change func(*log)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *log) Append(ctx context.Context, e revocations.Entry) (revocations.Record, error) {
	l.mu.Lock()
	memory, err, slow, ahead, hang := l.memory, l.err, l.slow, l.ahead, l.hang
	l.writes++
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return revocations.Record{}, err
	}
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return revocations.Record{}, ctx.Err()
	}
	record, err := memory.Append(ctx, e)
	return withClock(record, ahead), err
}

// withClock returns the record as a log with another clock makes it.
func withClock(r revocations.Record, ahead time.Duration) revocations.Record {
	r.DropAt = r.DropAt.Add(ahead)
	if !r.IssuedBefore.IsZero() {
		r.IssuedBefore = r.IssuedBefore.Add(ahead)
	}
	return r
}

func (l *log) Read(ctx context.Context, after revocations.Position) (revocations.Page, error) {
	l.mu.Lock()
	memory, err, late, ahead, hang := l.memory, l.err, l.late, l.ahead, l.hang
	l.reads++
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return revocations.Page{}, err
	}
	page, err := memory.Read(ctx, after)
	page.Clock = page.Clock.Add(ahead)
	for i, r := range page.Records {
		page.Records[i] = withClock(r, ahead)
	}
	time.Sleep(late)
	return page, err
}

func (*log) Close() {}

// follow runs a follower until the test ends. In a bubble of synctest, it has read
// the log once.
func follow(t *testing.T, log revocations.Log) *feed.Follower {
	t.Helper()
	f := feed.New(feed.Config{Issuer: "https://sessions.example.com", Log: log, MaxAge: maxAge})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return f
}

func session(id string) *feed.Session {
	return &feed.Session{
		OrganizationID: organization.String(), ID: id, CustomerID: customer, MemberID: member, ClientID: client,
		IssuedAt: time.Now().Truncate(time.Second),
	}
}

func end(t *testing.T, f *feed.Follower, scope revocations.Scope, id string) time.Time {
	t.Helper()
	ended, err := f.End(t.Context(), revocations.Entry{Scope: scope, OrganizationID: organization, ID: id})
	if err != nil {
		t.Fatalf("ending %s %s: %v", scope, id, err)
	}
	return ended.IssuedBefore
}

func wantEnded(t *testing.T, f *feed.Follower, s *feed.Session, want bool) {
	t.Helper()
	if got, err := f.Ends(s); err != nil || got != want {
		t.Errorf("session %s ended: got %v, %v, want %v", s.ID, got, err, want)
	}
}

// ask returns the answer to a consumer that has heard so much.
func ask(t *testing.T, f *feed.Follower, log string, after int64) *wire.Revocations {
	t.Helper()
	a, err := f.Answer(&feed.Query{Log: log, After: after, Pause: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var answer wire.Revocations
	if err := json.Unmarshal(a.Body, &answer); err != nil {
		t.Fatal(err)
	}
	return &answer
}

// fill puts sessions of an organization into a log.
func fill(t testing.TB, log revocations.Log, organization uuid.UUID, n int) {
	t.Helper()
	for i := range n {
		e := revocations.Entry{Scope: revocations.Session, OrganizationID: organization, ID: fmt.Sprintf("%032x-%d", i, i)}
		if _, err := log.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}
