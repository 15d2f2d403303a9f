package issuer_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys"
)

// fleetScale is how many times as fast as ours the clocks of the fleet go: a
// minute takes 3 seconds. Time-outs shrink as well, and those of a consumer
// that fetches keys, 5 seconds, leave the answer a quarter of a second.
const fleetScale = 20

// The fleet's policy: as short as rotations may be.
const (
	fleetPropagation = 30 * time.Second
	fleetCache       = time.Minute
	fleetSkew        = 10 * time.Second
	fleetLease       = 90 * time.Second
	fleetPeriod      = fleetPropagation + fleetCache + fleetSkew
	minSession       = time.Minute
	maxSession       = 80 * time.Second
	// rotateEvery is how often the fleet's cron runs keys rotate.
	rotateEvery = 20 * time.Second
)

// A fleet is three issuers behind a balancer, twenty consumers, an operator and
// the cron job that rotates keys.
type fleet struct {
	clock    clock.Clock
	program  string
	env      []string // of each replica
	master   string   // the manifest's file that the operator has
	manifest *keys.Manifest
	nextRun  time.Time // of cron
	replicas []*replica
	load     *workload
	acts     []*act
}

// Real issuers and real consumers, with load on them, live through what
// operators do and what goes wrong. No valid token is refused, no token of a
// removed or revoked key is accepted past the bound, and no session that
// somebody asks for fails.
//
// It does not run beside other tests of this package: how long a message takes
// is what it is about.
func TestFleet(t *testing.T) {
	f := newFleet(t)
	defer func() { t.Log(f.table()) }()
	if !needs.Exhaustive() {
		f.rotate(t, "planned rotation")
		f.killAndRestart(t, f.replicas[1])
		f.finish(t, 0, 0)
		return
	}
	for n := range 10 {
		f.rotate(t, fmt.Sprintf("planned rotation %d", n+1))
	}
	f.revoke(t, "revocation 1")
	f.revoke(t, "revocation 2")
	f.rollback(t)
	f.cutOff(t, f.replicas[2])
	f.killAndRestart(t, f.replicas[1])
	f.corrupt(t, f.replicas[0])
	f.finish(t, 10, 2)
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	f := &fleet{program: clock.Build(t, "github.com/customersession/customersession")}
	consumers := clock.Build(t, "./testdata/fleet/consumers")
	b := &balancer{}
	public := httptest.NewServer(b.handler())
	t.Cleanup(public.Close)
	i := install(t, public.URL)
	f.env = slices.Concat(i.env, []string{
		"CUSTOMERSESSION_SESSION_LIFETIME=" + minSession.String(),
		"CUSTOMERSESSION_MAX_SESSION_LIFETIME=" + maxSession.String(),
	})
	f.master = filepath.Join(t.TempDir(), "keys.json")

	f.clock = clock.Scaled(fleetScale)
	f.load = &workload{
		t: t, clock: f.clock, issuer: public.URL, secret: i.secret, keys: map[string]*keyLife{},
		client: http.Client{Timeout: startLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * creators}},
	}
	f.begin("start")
	f.init(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	f.startReplicas(ctx, t, &running)
	b.replicas = f.replicas
	running.Go(func() { b.probe(ctx) })
	f.startConsumers(t, consumers)
	running.Go(func() { f.load.run(ctx) })
	return f
}

// startReplicas starts three that differ in how soon they get a manifest, and
// in their clocks, by half of what the policy allows.
func (f *fleet) startReplicas(ctx context.Context, t testing.TB, running *sync.WaitGroup) {
	t.Helper()
	ahead, behind := f.clock, f.clock
	ahead.Offset, behind.Offset = fleetSkew/4, -fleetSkew/4
	f.replicas = []*replica{
		newReplica(t, "replica 1", f.clock, 0),
		newReplica(t, "replica 2", ahead, fleetPropagation/4),
		newReplica(t, "replica 3", behind, fleetPropagation/3),
	}
	for _, r := range f.replicas {
		if err := replaceFile(r.file, f.manifest.Encode()); err != nil {
			t.Fatal(err)
		}
		r.start(t, f.program, f.env)
		running.Go(func() { r.receive(ctx, t) })
	}
}

// startConsumers starts them over the life of a cache, so that each fetches keys
// at another time.
func (f *fleet) startConsumers(t testing.TB, program string) {
	t.Helper()
	p := startProgram(t, program, []string{f.clock.Env()},
		"-issuer", f.load.issuer, "-count", strconv.Itoa(consumerCount), "-spread", fleetCache.String())
	f.load.consumers = "http://" + p.find(t, p.stdout, `listening on (\S+)\n`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the consumers wrote:\n%s", p.stderr)
		}
	})
}

// init makes the first manifest.
func (f *fleet) init(t testing.TB) {
	t.Helper()
	f.command(t, "init", "--bootstrap", "--propagation", fleetPropagation.String(), "--cache", fleetCache.String(),
		"--skew", fleetSkew.String(), "--max-lifetime", maxSession.String(), "--lease", fleetLease.String(),
		"--rotation-period", fleetPeriod.String())
}

// command runs a command on the master and sends what comes of it to the
// replicas.
func (f *fleet) command(t testing.TB, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), f.program, append(append([]string{"keys"}, args...), "--file", f.master)...)
	command.Env = []string{f.clock.Env()}
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("keys %s: %v\n%s", args[0], err, output)
	}
	text, err := os.ReadFile(f.master)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := keys.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	if f.manifest != nil && manifest.Version == f.manifest.Version {
		return
	}
	f.manifest = manifest
	f.load.learn(manifest)
	for _, r := range f.replicas {
		r.send(text)
	}
}

// begin begins an act.
func (f *fleet) begin(name string) {
	f.acts = append(f.acts, f.load.begin(name))
}

// pass lets time go by until an instant.
func (f *fleet) pass(t testing.TB, until time.Time) {
	t.Helper()
	f.passUntil(t, until, func() bool { return false })
}

// await lets time go by until done, which it must be within the limit.
func (f *fleet) await(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	if !f.passUntil(t, f.clock.Now().Add(limit), done) {
		t.Fatalf("%s took longer than %v", what, limit)
	}
}

// passUntil lets time go by until an instant or until done, and reports
// whether it was done. Cron does its work meanwhile.
func (f *fleet) passUntil(t testing.TB, until time.Time, done func() bool) bool {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for ; f.clock.Now().Before(until); <-ticker.C {
		if done() {
			return true
		}
		if now := f.clock.Now(); now.After(f.nextRun) {
			f.nextRun = now.Add(rotateEvery)
			f.command(t, "rotate")
		}
	}
	return done()
}

// settled returns the key that signs by the master, nil when another one is
// about to take over or has just done so: the clocks differ.
func (f *fleet) settled() *keys.Key {
	now := f.clock.Now()
	k := f.manifest.CurrentAt(now)
	if f.manifest.CurrentAt(now.Add(-fleetSkew)) != k || f.manifest.CurrentAt(now.Add(2*fleetSkew)) != k {
		return nil
	}
	return k
}

// next returns the next key that takes over.
func (f *fleet) next(t testing.TB) *keys.Key {
	t.Helper()
	coming := f.coming()
	if len(coming) == 0 {
		t.Fatal("no next key is there")
	}
	return coming[0]
}

// coming returns the keys that are still to sign, the first one first.
func (f *fleet) coming() []*keys.Key {
	coming := slices.DeleteFunc(slices.Clone(f.manifest.Keys), func(k *keys.Key) bool {
		return !k.RevokedAt.IsZero() || !f.clock.Now().Before(k.ActivateAt)
	})
	slices.SortFunc(coming, func(a, b *keys.Key) int { return a.ActivateAt.Compare(b.ActivateAt) })
	return coming
}

// signsWith checks that every replica in service signs with the key or, without
// one, with any that signs by the master and a clock as wrong as it may be.
func (f *fleet) signsWith(t testing.TB, key *keys.Key) {
	t.Helper()
	for _, r := range f.replicas {
		if r.out.Load() {
			continue
		}
		began := f.clock.Now()
		got, status := f.load.create(t.Context(), r.url())
		wanted := []*keys.Key{key}
		if key == nil {
			wanted = []*keys.Key{f.manifest.CurrentAt(began.Add(-fleetSkew)), f.manifest.CurrentAt(f.clock.Now().Add(fleetSkew))}
		}
		if !slices.ContainsFunc(wanted, func(k *keys.Key) bool { return k != nil && k.ID() == got }) {
			t.Errorf("%s: %s answers %d and signs with key %q, which is not the current one", f.load.act.name, r.name, status, got)
		}
	}
}

func (f *fleet) rotate(t testing.TB, name string) {
	t.Helper()
	f.begin(name)
	next := f.next(t)
	f.pass(t, next.ActivateAt.Add(fleetSkew))
	f.signsWith(t, next)
}

// revoke is for the day on which the current key was stolen. A next key is
// ready, and another one is published: right after a takeover, before cron has
// run, that could be missing. With a rotation period as short as this one, the
// key after it would then be ready no sooner than it takes over.
func (f *fleet) revoke(t testing.TB, name string) {
	t.Helper()
	f.begin(name)
	var stolen *keys.Key
	f.await(t, "getting two next keys, one of them ready", 4*fleetPeriod, func() bool {
		coming := f.coming()
		stolen = f.settled()
		return stolen != nil && len(coming) > 1 && !f.clock.Now().Before(coming[0].PublishAt.Add(fleetPeriod))
	})
	standby := f.next(t)
	f.command(t, "revoke", stolen.ID())
	heard := f.clock.Now().Add(fleetPropagation + fleetSkew)
	f.pass(t, heard)
	f.signsWith(t, standby)
	f.pass(t, heard.Add(fleetCache+fleetSkew))
}

// rollback goes back to the key before, right after a takeover.
func (f *fleet) rollback(t testing.TB) {
	t.Helper()
	f.begin("rollback")
	var before *keys.Key
	f.await(t, "a time between takeovers", fleetPeriod, func() bool {
		before = f.settled()
		return before != nil
	})
	next := f.next(t)
	f.pass(t, next.ActivateAt.Add(fleetSkew))
	f.signsWith(t, next)
	f.command(t, "rollback")
	f.pass(t, f.clock.Now().Add(fleetPropagation+fleetSkew))
	f.signsWith(t, before)
}

// cutOff lets a replica hear of nothing new. The operator takes it out of
// service when the propagation that the policy promises is over. Later it gets
// the newest manifest and comes back.
func (f *fleet) cutOff(t testing.TB, r *replica) {
	t.Helper()
	f.begin("replica cut off")
	r.cut.Store(true)
	version := f.manifest.Version
	f.await(t, "a new manifest", fleetLease, func() bool { return f.manifest.Version > version })
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	r.out.Store(true)
	f.signsByItsLeases(t, r)
	r.cut.Store(false)
	r.send(f.manifest.Encode())
	f.await(t, "coming back", fleetPropagation, func() bool { return r.ready(http.DefaultClient) })
	r.out.Store(false)
	f.signsWith(t, nil)
}

// signsByItsLeases checks that a replica that hears of nothing new signs as
// long as the leases last that it knows of, and then no more. The tokens are
// shown to the consumers like all others.
func (f *fleet) signsByItsLeases(t testing.TB, r *replica) {
	t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	old, err := keys.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	ends := old.SignsUntil(f.clock.Now())
	for f.clock.Now().Before(ends.Add(-2 * fleetSkew)) {
		if _, status := f.load.create(t.Context(), r.url()); status != http.StatusCreated {
			t.Errorf("cut off, %v before its last lease ends, %s answers %d", ends.Sub(f.clock.Now()), r.name, status)
		}
		f.pass(t, f.clock.Now().Add(fleetSkew))
	}
	f.pass(t, ends.Add(fleetSkew))
	_, status := f.load.create(t.Context(), r.url())
	if ready := r.ready(http.DefaultClient); status != http.StatusServiceUnavailable || ready {
		t.Errorf("cut off, after its last lease, %s answers %d and is ready: %t", r.name, status, ready)
	}
}

func (f *fleet) killAndRestart(t testing.TB, r *replica) {
	t.Helper()
	f.begin("replica killed, restarted")
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	r.kill(t)
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	r.start(t, f.program, f.env)
	f.await(t, "getting ready", fleetCache, r.up.Load)
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	f.signsWith(t, nil)
}

// corrupt writes half a manifest where a replica has its own.
func (f *fleet) corrupt(t testing.TB, r *replica) {
	t.Helper()
	f.begin("file corrupted, repaired")
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	refused, good := r.reloads(t, "refused"), r.reloads(t, "replaced")+r.reloads(t, "restored")
	r.cut.Store(true)
	text := f.manifest.Encode()
	if err := replaceFile(r.file, text[:len(text)/2]); err != nil {
		t.Fatal(err)
	}
	f.await(t, "noticing the bad file", fleetPropagation, func() bool { return r.reloads(t, "refused") == refused+1 })
	if !r.ready(http.DefaultClient) {
		t.Error("a bad file makes the replica unready")
	}
	f.signsWith(t, nil)
	r.cut.Store(false)
	r.send(f.manifest.Encode())
	f.await(t, "noticing the good file", fleetPropagation, func() bool {
		return r.reloads(t, "replaced")+r.reloads(t, "restored") > good
	})
	f.pass(t, f.clock.Now().Add(fleetPropagation))
	f.signsWith(t, nil)
}

// finish waits until every session is over, and shows what a thief of each key
// would have made to all consumers.
func (f *fleet) finish(t testing.TB, wantDead, wantRevoked int) {
	t.Helper()
	f.begin("last sessions end, all keys tried")
	f.load.close()
	f.pass(t, f.clock.Now().Add(maxSession))
	dead, alive := f.load.lasting()
	// Of each rotation but the last few, the key is removed by now.
	if len(dead) < wantDead || len(alive) < 2 {
		t.Errorf("%d keys are dead, want %d or more; %d are alive, want 2 or more", len(dead), wantDead, len(alive))
	}
	revoked := 0
	due := map[*shownToken][]int{}
	for _, token := range slices.Concat(dead, alive) {
		due[token] = allConsumers()
		if !f.load.keys[token.keyID].revokedAt.IsZero() {
			revoked++
		}
	}
	if revoked != wantRevoked {
		t.Errorf("%d keys are revoked, want %d", revoked, wantRevoked)
	}
	f.load.show(t.Context(), due)
	f.load.mu.Lock()
	defer f.load.mu.Unlock()
	for _, token := range dead {
		// It was good as long as its key lived: what is refused is the key.
		if slices.Contains(token.accepted[:], false) || slices.Contains(token.refused[:], false) {
			t.Errorf("the token of dead key %s was accepted by %v and refused by %v, want all", token.keyID, token.accepted, token.refused)
		}
	}
}

// table shows what happened in each act up to now.
func (f *fleet) table() string {
	f.load.mu.Lock()
	defer f.load.mu.Unlock()
	f.load.act.ended = f.clock.Now()
	var text strings.Builder
	text.WriteByte('\n')
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "act\ttime\tsessions\tfailed\tverifications\tvalid refused\tdead accepted\tslowest create\n")
	total := act{name: "all", began: f.acts[0].began}
	for _, a := range f.acts {
		a.print(w)
		total.ended = a.ended
		total.sessions += a.sessions
		total.failed += a.failed
		total.verifications += a.verifications
		total.refused += a.refused
		total.accepted += a.accepted
		total.slowest = max(total.slowest, a.slowest)
	}
	total.print(w)
	w.Flush()
	return text.String()
}

func (a *act) print(w *tabwriter.Writer) {
	fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%d\t%d\t%d\t%v\n", a.name, a.ended.Sub(a.began).Round(time.Second),
		a.sessions, a.failed, a.verifications, a.refused, a.accepted, a.slowest.Round(100*time.Microsecond))
}
