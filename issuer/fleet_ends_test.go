package issuer_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/verify/wire"
)

const (
	// endingMost is how long the last consumer may take to refuse, at the 99th
	// percentile, and endingBound in any case, unless a link is cut.
	endingMost  = 2 * time.Second
	endingBound = 5 * time.Second
	// endingMaxAge is the maximum age while links are cut, which is the bound then.
	endingMaxAge = 12 * time.Second
	// endingOften is the time from one revocation to the next, and endingSeldom the
	// same in quiet times and while links are cut.
	endingOften  = 250 * time.Millisecond
	endingSeldom = 1500 * time.Millisecond
)

// An endingFleet is three issuers whose log is in PostgreSQL, behind a balancer,
// twenty consumers of every kind, and customers.
type endingFleet struct {
	t                testing.TB
	issuer           string // URL
	client           http.Client
	maxAge           time.Duration // that the issuers state
	primary, standby *postgres.Server
	databases        []*postgres.Server
	replicas         []*replica
	env              [][]string // of each replica
	logLinks         [][]*link  // of each replica
	guards           []*guard
	working          sync.WaitGroup

	checkout       tenant
	customers      []string // of its organization; the first one is never the target of a revocation
	keys, others   []tenant // each is the target of one
	otherCustomers []string
	revoked        int // how many revocations have begun

	mu       sync.Mutex
	sessions []*endable
	act      *endingAct // that is on
	acts     []*endingAct
	done     map[string]int // revocations of each kind
}

// An endingAct is a line of the table.
type endingAct struct {
	name         string
	began, ended time.Time
	// every is the time from one revocation to the next.
	every time.Duration
	// bound is how long after its acknowledgement a revocation may take.
	bound time.Duration
	// settle is how long after that all replicas know of it, or "until now" is over.
	settle time.Duration
	// troubled means that a call to end a session may fail.
	troubled bool

	created, lost, verifications, repeated int
	// late counts ended sessions that were accepted past the bound, or after they
	// had been refused; wrong, valid ones that were not accepted; unavailable, the
	// answers of a consumer that is cut off.
	late, wrong, unavailable int
	slowest                  time.Duration // of creating a session
	took                     []time.Duration
	kinds                    map[string][]time.Duration // by kind of consumer
}

// When sessions are ended, in any way, real consumers of real issuers stop
// accepting them within seconds, whatever happens to one of the issuers or to the
// database; one that is cut off stops within the maximum age. No other session is
// refused, and no session that a customer asks for fails.
//
// It does not run beside other tests of this package: how long a message takes is
// what it is about.
func TestFleetEndsSessions(t *testing.T) {
	full := needs.Rehearsal()
	count := 14
	if full {
		count = 200
	}
	f := newEndingFleet(t, count, full)
	defer func() { t.Log(f.table()) }()
	if !full {
		f.busy(t, 10)
		f.killReplica(t, 4)
		f.finish(t, count)
		return
	}
	f.quiet(t, 10)
	f.busy(t, 90)
	f.killReplica(t, 20)
	f.restartDatabase(t, 20)
	f.failOver(t, 20)
	f.restartReplicas(t, 20)
	f.cutReplicaOff(t, 10)
	f.cutConsumersOff(t, 10)
	f.finish(t, count)
}

// begin begins an act, and ends the one before.
func (f *endingFleet) begin(name string, bound time.Duration) *endingAct {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.act != nil {
		f.act.ended = now
	}
	f.act = &endingAct{name: name, began: now, every: endingOften, bound: bound, settle: 1500 * time.Millisecond, kinds: map[string][]time.Duration{}}
	f.acts = append(f.acts, f.act)
	return f.act
}

// during makes revocations while something happens, and waits for both.
func (f *endingFleet) during(t testing.TB, a *endingAct, count int, something func()) {
	t.Helper()
	var revoking sync.WaitGroup
	defer revoking.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	first := f.revoked
	f.revoked += count
	revoking.Go(func() {
		ticker := time.NewTicker(a.every)
		defer ticker.Stop()
		for n := range count {
			revoking.Go(func() { f.revoke(ctx, a, first+n) })
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	something()
	revoking.Wait()
}

// pass lets time go by.
func pass(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// await waits until something is so.
func (f *endingFleet) await(t testing.TB, what string, limit time.Duration, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !so(); pass(t, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s took longer than %v", what, limit)
		}
	}
}

func (f *endingFleet) quiet(t testing.TB, count int) {
	t.Helper()
	a := f.begin("quiet", endingBound)
	a.every = endingSeldom
	f.during(t, a, count, func() {})
}

func (f *endingFleet) busy(t testing.TB, count int) {
	t.Helper()
	f.during(t, f.begin("busy", endingBound), count, func() {})
}

// killReplica ends a replica without a warning, and starts it again.
func (f *endingFleet) killReplica(t testing.TB, count int) {
	t.Helper()
	a := f.begin("replica killed, restarted", endingBound)
	a.troubled = true
	f.during(t, a, count, func() {
		pass(t, time.Second/2)
		f.replicas[1].kill(t)
		pass(t, time.Duration(count)*a.every/2)
		f.startReplica(t, 1)
		f.await(t, "getting ready", startLimit, f.replicas[1].up.Load)
	})
}

func (f *endingFleet) restartDatabase(t testing.TB, count int) {
	t.Helper()
	a := f.begin("PostgreSQL restarted", endingBound)
	a.troubled, a.settle = true, 4*time.Second
	f.during(t, a, count, func() {
		pass(t, time.Second)
		f.primary.Stop(t)
		pass(t, time.Second)
		f.primary.Start(t)
	})
}

func (f *endingFleet) failOver(t testing.TB, count int) {
	t.Helper()
	a := f.begin("PostgreSQL failed over", endingBound)
	a.troubled, a.settle = true, 4*time.Second
	f.during(t, a, count, func() {
		pass(t, time.Second)
		f.primary.Stop(t)
		pass(t, time.Second/2)
		f.standby.Promote(t)
	})
}

// restartReplicas restarts one after the other, with a shorter maximum age.
func (f *endingFleet) restartReplicas(t testing.TB, count int) {
	t.Helper()
	a := f.begin("rolling restart, shorter age", endingBound)
	a.troubled = true
	f.mu.Lock()
	f.maxAge = endingMaxAge
	f.mu.Unlock()
	f.during(t, a, count, func() {
		for n, r := range f.replicas {
			r.process.signal(t)
			if code := r.process.wait(t); code != 0 {
				t.Errorf("%s: exit code %d: %s", r.name, code, r.process.stderr)
			}
			f.startReplica(t, n)
			f.await(t, "getting ready", startLimit, r.up.Load)
		}
	})
}

// cutReplicaOff lets a replica neither read nor write the log.
func (f *endingFleet) cutReplicaOff(t testing.TB, count int) {
	t.Helper()
	a := f.begin("replica cut off from the log", endingMaxAge)
	a.troubled, a.settle, a.every = true, 4*time.Second, endingSeldom
	r := f.replicas[2]
	f.during(t, a, count, func() {
		for _, l := range f.logLinks[2] {
			l.cut()
		}
		feed := r.url() + wire.RevocationsPath
		f.await(t, "giving up the feed", endingMaxAge, func() bool { return f.status(t, feed) == http.StatusServiceUnavailable })
		if !r.ready(http.DefaultClient) {
			t.Error("without the log, the replica is not ready to create sessions")
		}
		pass(t, endingMaxAge)
		for _, l := range f.logLinks[2] {
			l.mend()
		}
		f.await(t, "serving the feed again", endingMaxAge, func() bool { return f.status(t, feed) == http.StatusOK })
	})
}

// status returns the status of an answer, 0 when there is none.
func (f *endingFleet) status(t testing.TB, url string) int {
	t.Helper()
	response, err := f.client.Get(url)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// cutConsumersOff cuts one consumer of each kind off from the issuers.
func (f *endingFleet) cutConsumersOff(t testing.TB, count int) {
	t.Helper()
	a := f.begin("consumers cut off", endingMaxAge)
	a.settle, a.every = 4*time.Second, endingSeldom
	var cut []*guard
	for _, g := range f.guards {
		if len(cut) == 0 || cut[len(cut)-1].kind != g.kind {
			cut = append(cut, g)
		}
	}
	f.during(t, a, count, func() {
		for _, g := range cut {
			g.cut()
		}
		pass(t, endingMaxAge+endingBound)
		session := f.create(t.Context(), "load", f.checkout.secret, f.customers[0])
		if session == nil {
			t.Fatal("no session to show")
		}
		for _, g := range cut {
			if v, err := g.ask(t.Context(), session.token); v != unavailable {
				t.Errorf("consumer %d (%s), cut off, says %v, %v", g.number, g.kind, v, err)
			}
		}
		for _, g := range cut {
			g.mend()
			f.await(t, "getting news again", endingMaxAge, func() bool {
				v, err := g.ask(t.Context(), session.token)
				return v == accepted && err == nil
			})
			g.healed()
		}
	})
}

// finish shows all sessions to all consumers once more, and holds the figures
// against what is promised.
func (f *endingFleet) finish(t testing.TB, count int) {
	t.Helper()
	f.begin("all sessions shown again", endingBound)
	f.mu.Lock()
	sessions := slices.Clone(f.sessions)
	f.mu.Unlock()
	for _, s := range sessions {
		f.present(t.Context(), s)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var outside []time.Duration
	total := 0
	for _, a := range f.acts {
		total += len(a.took)
		if a.bound == endingBound {
			outside = append(outside, a.took...)
		}
	}
	if total != count {
		t.Errorf("%d revocations are done, want %d", total, count)
	}
	if p99 := percentile(outside, 99); p99 > endingMost {
		t.Errorf("the 99th percentile is %v, want %v", p99, endingMost)
	}
	for _, e := range endings {
		if f.done[e.name] == 0 {
			t.Errorf("no revocation was of the kind %q", e.name)
		}
	}
}

// percentile returns the smallest duration that p percent are not above.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[(len(all)*p+99)/100-1]
}

// table shows what happened in each act up to now.
func (f *endingFleet) table() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.act.ended = time.Now()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nact\ttime\tsessions\tlost\tslowest create\tverifications\tvalid refused\taccepted late\t503\trevocations\trepeated\tp50\tp99\tmax\n")
	kinds := map[string][]time.Duration{}
	for _, a := range f.acts {
		fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%v\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%v\n", a.name, a.ended.Sub(a.began).Round(time.Second),
			a.created, a.lost, a.slowest.Round(time.Millisecond), a.verifications, a.wrong, a.late, a.unavailable, len(a.took), a.repeated,
			percentile(a.took, 50).Round(time.Millisecond), percentile(a.took, 99).Round(time.Millisecond), percentile(a.took, 100).Round(time.Millisecond))
		if a.bound == endingBound {
			for kind, took := range a.kinds {
				kinds[kind] = append(kinds[kind], took...)
			}
		}
	}
	fmt.Fprint(w, "\nconsumers, no link cut\tp50\tp99\tmax\n")
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		took := kinds[kind]
		fmt.Fprintf(w, "%s\t%v\t%v\t%v\n", kind, percentile(took, 50).Round(time.Millisecond),
			percentile(took, 99).Round(time.Millisecond), percentile(took, 100).Round(time.Millisecond))
	}
	w.Flush()
	return text.String()
}
