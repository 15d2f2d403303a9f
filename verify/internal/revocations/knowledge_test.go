package revocations_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

const (
	issuer       = "https://sessions.example.com"
	organization = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	customer     = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	session      = "3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11"
	apiKey       = "checkout"
)

// epoch is the wall-clock time at which the tests' clocks begin.
var epoch = time.Unix(1_800_000_000, 0)

// at is an instant at which both clocks have advanced by the same.
func at(d time.Duration) revocations.Instant {
	return revocations.Instant{Monotonic: d, Wall: epoch.Add(d)}
}

// entry is a revocation of everything that was issued before a time.
func entry(scope wire.RevocationScope, id string, issuedBefore, dropAt time.Duration) wire.Revocation {
	r := wire.Revocation{Scope: scope, ID: wire.NewRevocationID(scope, organization, id), DropAt: epoch.Add(dropAt).Unix()}
	if scope != wire.RevokeSession {
		r.IssuedBefore = epoch.Add(issuedBefore).Unix()
	}
	return r
}

// subject is a session of all the names above that was issued at a time.
func subject(issuedAt time.Duration) *revocations.Subject {
	h := revocations.Holder{
		OrganizationID: organization, SessionID: session, CustomerID: customer, ClientID: apiKey,
		IssuedAt: epoch.Add(issuedAt).Unix(),
	}
	s := h.Subject()
	return &s
}

// answer is one of the log "L" with a maximal age of 100 seconds.
func answer(after, seq int64, revoked ...wire.Revocation) *revocations.Answer {
	return &revocations.Answer{Nonce: "n", Revocations: wire.Revocations{
		Issuer: issuer, Enabled: true, Log: "L", After: after, Seq: seq, MaxAge: 100, Pause: 1, Revoked: revoked,
	}}
}

// take takes an answer to a request that begins and is answered at a time.
func take(t *testing.T, k *revocations.Knowledge, a *revocations.Answer, now revocations.Instant, want revocations.Verdict) *revocations.Knowledge {
	t.Helper()
	r := k.Request(now, "n", 0)
	next, got := k.Take(&r, a, issuer, now)
	if got != want {
		t.Fatalf("Take of %+v: %q, want %q", a, got, want)
	}
	return next
}

func TestAge(t *testing.T) {
	t.Parallel()
	unknown := new(revocations.Knowledge)
	if unknown.Fresh(at(0), 0) || unknown.Fresh(at(0), time.Hour) {
		t.Error("who knows nothing is fresh")
	}
	// The answer is 7 seconds old when it is written, anywhere between the 10th
	// second and the 30th.
	r := unknown.Request(at(10*time.Second), "n", 0)
	a := answer(0, 5)
	a.Age = 7 * time.Second
	k, verdict := unknown.Take(&r, a, issuer, at(30*time.Second))
	if verdict != revocations.Taken {
		t.Fatal(verdict)
	}
	if age, ok := k.Age(at(30 * time.Second)); !ok || age != 27*time.Second {
		t.Errorf("age is %v, want 20 s since the request began and the 7 s of the answer", age)
	}
	for _, tt := range []struct {
		name            string
		monotonic, wall time.Duration
		limit           time.Duration
		want            bool
	}{
		{"at the feed's limit", 103 * time.Second, 103 * time.Second, 0, true},
		{"a nanosecond later", 103*time.Second + 1, 103*time.Second + 1, 0, false},
		{"by the monotonic clock alone", 103*time.Second + 1, 0, 0, false},
		{"by the wall clock alone: the machine was suspended", 31 * time.Second, 103*time.Second + 1, 0, false},
		{"the wall clock was set back by five minutes", 103 * time.Second, 103*time.Second - 5*time.Minute, 0, true},
		{"and by more", 103 * time.Second, 103*time.Second - 5*time.Minute - 1, 0, false},
		{"a caller may demand less", 43*time.Second + 1, 43 * time.Second, 40 * time.Second, false},
		{"and get it", 43 * time.Second, 43 * time.Second, 40 * time.Second, true},
		{"but not more than the feed", 103*time.Second + 1, 103 * time.Second, time.Hour, false},
	} {
		now := revocations.Instant{Monotonic: tt.monotonic, Wall: epoch.Add(tt.wall)}
		if got := k.Fresh(now, tt.limit); got != tt.want {
			t.Errorf("%s: fresh is %t", tt.name, got)
		}
	}
}

// Everything that is refused leaves the knowledge as it was, and as old.
func TestRefused(t *testing.T) {
	t.Parallel()
	k := take(t, new(revocations.Knowledge), answer(0, 5), at(0), revocations.Taken)
	ended := entry(wire.RevokeCustomer, customer, time.Minute, 25*time.Hour)
	for name, tt := range map[string]struct {
		change func(*revocations.Answer)
		want   revocations.Verdict
	}{
		"another nonce":          {func(a *revocations.Answer) { a.Nonce = "m" }, revocations.OtherNonce},
		"no nonce":               {func(a *revocations.Answer) { a.Nonce = "" }, revocations.OtherNonce},
		"another issuer":         {func(a *revocations.Answer) { a.Issuer += "/" }, revocations.OtherIssuer},
		"entries are missing":    {func(a *revocations.Answer) { a.After = 6 }, revocations.NotAfter},
		"the log is off":         {func(a *revocations.Answer) { a.Enabled = false }, revocations.Disabled},
		"a negative age":         {func(a *revocations.Answer) { a.Age = -1 }, revocations.BadNumber},
		"an age of days":         {func(a *revocations.Answer) { a.Age = 24*time.Hour + 1 }, revocations.BadNumber},
		"no max age":             {func(a *revocations.Answer) { a.MaxAge = 0 }, revocations.BadNumber},
		"a max age of days":      {func(a *revocations.Answer) { a.MaxAge = 24*60*60 + 1 }, revocations.BadNumber},
		"a negative pause":       {func(a *revocations.Answer) { a.Pause = -1 }, revocations.BadNumber},
		"an endless pause":       {func(a *revocations.Answer) { a.Pause = 1 << 62 }, revocations.BadNumber},
		"a negative after":       {func(a *revocations.Answer) { a.After = -1 }, revocations.BadNumber},
		"after beyond seq":       {func(a *revocations.Answer) { a.After, a.Seq = 5, 4 }, revocations.BadNumber},
		"a log without a name":   {func(a *revocations.Answer) { a.Log = "" }, revocations.BadNumber},
		"an entry for ever":      {func(a *revocations.Answer) { a.Revoked[0].DropAt = 1 << 62 }, revocations.BadNumber},
		"an entry of the past":   {func(a *revocations.Answer) { a.Revoked[0].DropAt = -1 }, revocations.BadNumber},
		"an entry for no time":   {func(a *revocations.Answer) { a.Revoked[0].IssuedBefore = 0 }, revocations.BadNumber},
		"a million entries":      {func(a *revocations.Answer) { a.Revoked = make([]wire.Revocation, 1_000_000) }, revocations.TooMany},
		"200,001 entries":        {func(a *revocations.Answer) { a.Revoked = make([]wire.Revocation, 200_001) }, revocations.TooMany},
		"1,001 keys":             {func(a *revocations.Answer) { a.RevokedKeys = make([]string, 1001) }, revocations.TooMany},
		"a good one to compare":  {func(*revocations.Answer) {}, revocations.Taken},
		"a complete one as well": {func(a *revocations.Answer) { a.After = 0 }, revocations.Taken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := answer(5, 6, ended)
			tt.change(a)
			next := take(t, k, a, at(time.Minute), tt.want)
			if tt.want == revocations.Taken {
				if age, _ := next.Age(at(time.Minute)); age != 0 || !next.Ends(subject(0)) {
					t.Errorf("age is %v and the session ended: %t", age, next.Ends(subject(0)))
				}
				return
			}
			if age, _ := next.Age(at(time.Minute)); age != time.Minute || next.Ends(subject(0)) {
				t.Errorf("after what was refused, age is %v and the session ended: %t", age, next.Ends(subject(0)))
			}
		})
	}
}

// Another log, or an earlier state of the same one, may lack what comes next:
// what is known stays, and does not count as fresh until all is known again.
func TestFromZero(t *testing.T) {
	t.Parallel()
	ended := entry(wire.RevokeSession, session, 0, 25*time.Hour)
	k := take(t, new(revocations.Knowledge), answer(0, 5, ended), at(0), revocations.Taken)
	other := answer(5, 9)
	other.Log = "M"
	for name, a := range map[string]*revocations.Answer{"another log": other, "a lower seq": answer(3, 4)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := take(t, k, a, at(time.Second), revocations.FromZero)
			if next.Fresh(at(time.Second), 0) {
				t.Error("it counts as fresh")
			}
			if !next.Ends(subject(0)) {
				t.Error("what was known is forgotten")
			}
			r := next.Request(at(time.Second), "n", 0)
			if r.After != 0 || r.Log != "" || next.Wait(0, 0) != 0 {
				t.Errorf("the next request is %+v, and waits for %v", r, next.Wait(0, 0))
			}
			// What begins later than asked for is no answer to that.
			take(t, next, a, at(2*time.Second), revocations.NotAfter)
			complete := *a
			complete.After = 0
			next = take(t, next, &complete, at(3*time.Second), revocations.Taken)
			if !next.Fresh(at(3*time.Second), 0) || !next.Ends(subject(0)) {
				t.Error("all is known again, and does not count")
			}
			if r := next.Request(at(4*time.Second), "n", 0); r.After != a.Seq || r.Log != a.Log {
				t.Errorf("the request after that is %+v", r)
			}
		})
		t.Run(name+", complete at once", func(t *testing.T) {
			t.Parallel()
			complete := *a
			complete.After = 0
			next := take(t, k, &complete, at(time.Second), revocations.Taken)
			if !next.Ends(subject(0)) {
				t.Error("what was known is forgotten")
			}
		})
	}
}

// A clock that is wrong for a while makes knowledge forget too early, and must not
// revive what it has forgotten.
func TestWallClockIsAhead(t *testing.T) {
	t.Parallel()
	ended := entry(wire.RevokeSession, session, 0, 25*time.Hour)
	clock := func(d, ahead time.Duration) revocations.Instant {
		return revocations.Instant{Monotonic: d, Wall: epoch.Add(d + ahead)}
	}
	k := take(t, new(revocations.Knowledge), answer(0, 5, ended), at(0), revocations.Taken)
	k = take(t, k, answer(5, 5), clock(time.Second, 26*time.Hour), revocations.Taken)
	if k.Ends(subject(0)) || !k.Fresh(clock(2*time.Second, 26*time.Hour), 0) {
		t.Fatal("a day later the entry should be forgotten, or this test shows nothing")
	}
	if k.Fresh(at(3*time.Second), 0) {
		t.Error("what may have been forgotten too early counts as fresh")
	}
	// An answer to a request from before may arrive now.
	r := k.Request(clock(2*time.Second, 26*time.Hour), "n", 0)
	k, _ = k.Take(&r, answer(5, 6), issuer, at(4*time.Second))
	if k.Fresh(at(4*time.Second), 0) {
		t.Error("an answer without it counts as fresh")
	}
	if r := k.Request(at(5*time.Second), "n", 0); r.After != 0 || r.Log != "" {
		t.Errorf("the next request is %+v, want one for everything", r)
	}
	k = take(t, k, answer(0, 6, ended), at(5*time.Second), revocations.Taken)
	if !k.Ends(subject(0)) || !k.Fresh(at(5*time.Second), 0) {
		t.Error("the session lives, or nothing can be judged")
	}
	if r := k.Request(at(6*time.Second), "n", 0); r.After != 6 {
		t.Errorf("the request after that is %+v", r)
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	off := answer(0, 0)
	off.Enabled, off.Log = false, ""
	k := take(t, new(revocations.Knowledge), off, at(0), revocations.Taken)
	if !k.Fresh(at(100*time.Second), 0) || k.Fresh(at(101*time.Second), 0) || k.Enabled() {
		t.Error("an issuer without a log is not known as long as its max age says")
	}
	k = take(t, k, off, at(50*time.Second), revocations.Taken)
	k = take(t, k, answer(0, 1), at(60*time.Second), revocations.Taken)
	k = take(t, k, off, at(70*time.Second), revocations.Disabled)
	if age, _ := k.Age(at(70 * time.Second)); age != 10*time.Second || !k.Enabled() {
		t.Errorf("an issuer that has lost its log refreshed the age to %v", age)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	const issued = time.Hour
	for name, tt := range map[string]struct {
		entry wire.Revocation
		want  bool
	}{
		"the session":                 {entry(wire.RevokeSession, session, 0, 25*time.Hour), true},
		"another session":             {entry(wire.RevokeSession, customer, 0, 25*time.Hour), false},
		"the customer":                {entry(wire.RevokeCustomer, customer, issued+time.Second, 25*time.Hour), true},
		"the customer until then":     {entry(wire.RevokeCustomer, customer, issued, 25*time.Hour), false},
		"another customer":            {entry(wire.RevokeCustomer, session, issued+time.Second, 25*time.Hour), false},
		"the API key":                 {entry(wire.RevokeAPIKey, apiKey, issued+time.Second, 25*time.Hour), true},
		"the API key until then":      {entry(wire.RevokeAPIKey, apiKey, issued, 25*time.Hour), false},
		"the organization":            {entry(wire.RevokeOrganization, "", issued+time.Second, 25*time.Hour), true},
		"the organization until then": {entry(wire.RevokeOrganization, "", issued, 25*time.Hour), false},
		"a member with the same ID":   {entry(wire.RevokeMember, customer, issued+time.Second, 25*time.Hour), false},
		"a scope of the future":       {entry("device", customer, issued+time.Second, 25*time.Hour), false},
		"what is over":                {entry(wire.RevokeSession, session, 0, 2*time.Hour), false},
	} {
		k := take(t, new(revocations.Knowledge), answer(0, 1, tt.entry), at(2*time.Hour), revocations.Taken)
		if got := k.Ends(subject(issued)); got != tt.want {
			t.Errorf("%s: ended is %t", name, got)
		}
		if unknown := k.Unknown() == 1; unknown != (tt.entry.Scope == "device") {
			t.Errorf("%s: %d entries of an unknown scope", name, k.Unknown())
		}
	}
	holder := revocations.Holder{OrganizationID: organization, SessionID: session, CustomerID: customer}
	s := holder.Subject()
	k := take(t, new(revocations.Knowledge), answer(0, 1, entry(wire.RevokeAPIKey, "", time.Hour, 25*time.Hour)), at(0), revocations.Taken)
	if k.Ends(&s) {
		t.Error("a session without an API key was ended with one that has no ID")
	}
}

// Two entries for one customer end what either ends, in both orders, also when
// the one that ends more comes with the earlier end.
func TestAddingRevivesNothing(t *testing.T) {
	t.Parallel()
	narrow := entry(wire.RevokeCustomer, customer, time.Hour, 30*time.Hour)
	wide := entry(wire.RevokeCustomer, customer, 2*time.Hour, 26*time.Hour)
	for name, order := range map[string][2]wire.Revocation{"narrow first": {narrow, wide}, "wide first": {wide, narrow}} {
		for _, together := range []bool{true, false} {
			k := new(revocations.Knowledge)
			if together {
				k = take(t, k, answer(0, 2, order[0], order[1]), at(0), revocations.Taken)
			} else {
				k = take(t, k, answer(0, 1, order[0]), at(0), revocations.Taken)
				k = take(t, k, answer(1, 2, order[1]), at(0), revocations.Taken)
			}
			if !k.Ends(subject(2*time.Hour - time.Second)) {
				t.Errorf("%s, together %t: a session was revived", name, together)
			}
			if k = k.Forget(at(30*time.Hour - time.Second)); !k.Ends(subject(2*time.Hour - time.Second)) {
				t.Errorf("%s, together %t: forgotten at the earlier time", name, together)
			}
			if k = k.Forget(at(30 * time.Hour)); k.Ends(subject(0)) || k.Entries() != 0 {
				t.Errorf("%s, together %t: %d entries are remembered for ever", name, together, k.Entries())
			}
		}
	}
}

// What is known is forgotten at its drop_at only, whatever a complete answer
// leaves out.
func TestForgetting(t *testing.T) {
	t.Parallel()
	ended := entry(wire.RevokeSession, session, 0, time.Hour)
	k := take(t, new(revocations.Knowledge), answer(0, 1, ended), at(0), revocations.Taken)
	k = take(t, k, answer(0, 2), at(time.Hour-time.Second), revocations.Taken)
	if !k.Ends(subject(0)) {
		t.Error("a complete answer without the entry took it out")
	}
	k = take(t, k, answer(2, 3), at(time.Hour), revocations.Taken)
	if k.Ends(subject(0)) || k.Entries() != 0 {
		t.Error("the entry is remembered for ever")
	}
}

func TestRevokedKeys(t *testing.T) {
	t.Parallel()
	const retention = 24*time.Hour + 15*time.Minute
	listed, silent := answer(0, 1), answer(1, 1)
	listed.RevokedKeys = []string{"k1"}
	k := take(t, new(revocations.Knowledge), listed, at(0), revocations.Taken)
	k = take(t, k, listed, at(time.Hour), revocations.Taken)
	if !k.RevokedKey("k1") || k.RevokedKey("k2") || k.RevokedKey("") {
		t.Error("the listed key is not revoked, or another one is")
	}
	k = take(t, k, silent, at(time.Hour+retention), revocations.Taken)
	if !k.RevokedKey("k1") {
		t.Error("the key is not revoked any more although its tokens may live")
	}
	k = take(t, k, silent, at(time.Hour+retention+time.Second), revocations.Taken)
	if k.RevokedKey("k1") {
		t.Error("the key is revoked for ever")
	}
}

func TestWaitAndPause(t *testing.T) {
	t.Parallel()
	a := answer(0, 1)
	a.MaxAge, a.Pause = 900, 30
	k := take(t, new(revocations.Knowledge), a, at(0), revocations.Taken)
	for _, tt := range []struct {
		limit, timeout time.Duration
		wait, pause    time.Duration
	}{
		{0, 0, 25 * time.Second, 30 * time.Second},
		{0, 10 * time.Second, 8 * time.Second, 30 * time.Second},
		{0, time.Second, 0, 30 * time.Second},
		{50 * time.Second, 0, 12 * time.Second, 12500 * time.Millisecond},
		{2 * time.Second, 0, 0, 500 * time.Millisecond},
		{time.Hour, 0, 25 * time.Second, 30 * time.Second},
	} {
		if wait, pause := k.Wait(tt.limit, tt.timeout), k.Pause(tt.limit); wait != tt.wait || pause != tt.pause {
			t.Errorf("limit %v, time-out %v: waits for %v and pauses for %v, want %v and %v",
				tt.limit, tt.timeout, wait, pause, tt.wait, tt.pause)
		}
	}
	a.Pause = 3600
	if got := take(t, k, a, at(0), revocations.Taken).Pause(0); got != time.Minute {
		t.Errorf("a feed can silence its consumers for %v", got)
	}
	if new(revocations.Knowledge).Wait(0, 0) != 0 {
		t.Error("the first request waits for news")
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	a := answer(0, 7, entry(wire.RevokeSession, session, 0, time.Hour), entry(wire.RevokeCustomer, customer, time.Minute, 25*time.Hour))
	a.RevokedKeys, a.Age = []string{"k1"}, 3*time.Second
	k := take(t, new(revocations.Knowledge), a, at(0), revocations.Taken)
	kept, ok := k.Snapshot(at(10 * time.Second))
	if !ok {
		t.Fatal("no snapshot")
	}
	// Another process has another monotonic clock.
	now := revocations.Instant{Monotonic: time.Hour, Wall: epoch.Add(20 * time.Second)}
	restored, err := kept.Restore(now, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if age, ok := restored.Age(now); !ok || age != 53*time.Second {
		t.Errorf("age is %v, want 20 s by the wall clock, 3 s of the answer and 30 s of leeway", age)
	}
	if restored.Entries() != 2 || !restored.Ends(subject(2*time.Minute)) || !restored.RevokedKey("k1") {
		t.Errorf("the snapshot has lost something: %d entries", restored.Entries())
	}
	if r := restored.Request(now, "n", 0); r.After != 7 || r.Log != "L" {
		t.Errorf("the first request is %+v", r)
	}
	off := answer(0, 0)
	off.Enabled, off.Log = false, ""
	take(t, restored, off, now, revocations.Taken)

	later := revocations.Instant{Wall: epoch.Add(2 * time.Hour)}
	if restored, err = kept.Restore(later, 0); err != nil || restored.Entries() != 1 || restored.Fresh(later, 0) {
		t.Errorf("after two hours: %v, %d entries", err, restored.Entries())
	}
	if _, err := kept.Restore(at(-40*time.Second), 30*time.Second); err == nil {
		t.Error("a snapshot from the future was taken")
	}
	if _, ok := new(revocations.Knowledge).Snapshot(at(0)); ok {
		t.Error("nothing makes a snapshot")
	}
}

// A large set has all its entries after any number of changes, and knowledge that
// others still read does not change with it.
func TestLargeSet(t *testing.T) {
	t.Parallel()
	const n = 20_000
	entries := make([]wire.Revocation, n)
	for i := range entries {
		entries[i] = entry(wire.RevokeCustomer, strconv.Itoa(i), time.Minute, time.Hour+time.Duration(i)*time.Second)
	}
	before := take(t, new(revocations.Knowledge), answer(0, 1, entries...), at(0), revocations.Taken)
	after := take(t, before, answer(1, 2, entry(wire.RevokeSession, session, 0, 25*time.Hour)), at(time.Hour+n/2*time.Second), revocations.Taken)
	if got := before.Entries(); got != n || before.Ends(subject(0)) {
		t.Errorf("the knowledge of before has %d entries now", got)
	}
	if got, want := after.Entries(), n/2; got != want || !after.Ends(subject(0)) {
		t.Errorf("%d entries, want %d", got, want)
	}
	for i := range n {
		h := revocations.Holder{OrganizationID: organization, SessionID: session, CustomerID: strconv.Itoa(i), IssuedAt: epoch.Unix()}
		s := h.Subject()
		if !before.Ends(&s) {
			t.Fatalf("entry %d is missing", i)
		}
	}
	if before.Revision() == after.Revision() {
		t.Error("nobody learns that a session has ended")
	}
	again := take(t, after, answer(2, 2), at(3*time.Hour), revocations.Taken)
	if again.Revision() != after.Revision() {
		t.Error("nothing is called news")
	}
}

func TestWith(t *testing.T) {
	t.Parallel()
	k := take(t, new(revocations.Knowledge), answer(0, 1), at(0), revocations.Taken)
	local := k.With(entry(wire.RevokeSession, session, 0, time.Hour))
	if k.Ends(subject(0)) || !local.Ends(subject(0)) || local.Revision() == k.Revision() {
		t.Error("an entry of our own is not in force, or was before")
	}
	if local = take(t, local, answer(0, 1), at(time.Minute), revocations.Taken); !local.Ends(subject(0)) {
		t.Error("the feed took out an entry of our own")
	}
}
