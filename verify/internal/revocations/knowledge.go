package revocations

import (
	"maps"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

const (
	// maxEntries bounds one answer, and maxKnown all that is remembered of many.
	maxEntries = 200_000
	maxKnown   = 2 * maxEntries
	// maxKeys bounds the revoked signing keys in the same two ways.
	maxKeys = 1000
	// maxMaxAge is the largest "max_age" of a feed, and the largest age of an
	// answer that makes sense.
	maxMaxAge = 24 * time.Hour
	// maxDate is 9999-12-31T23:59:59Z, as in tokens.
	maxDate = 253402300799
	// keyRetention is how long a signing key stays revoked after the feed has
	// named it last: the longest token, the widest leeway, and twice the largest
	// difference of clocks.
	keyRetention = 24*time.Hour + 5*time.Minute + 2*5*time.Minute

	// maxWait is the longest that a request waits for news, and answerTime what
	// is left of a client's time-out for the answer.
	maxWait    = 25 * time.Second
	answerTime = 2 * time.Second
	// maxPause bounds the pause that a feed can ask for.
	maxPause = time.Minute
	// maxSkew is how far the wall clock may be set back without consequences:
	// entries stay in force for twice that after they are needed last.
	maxSkew = 5 * time.Minute
)

// Knowledge is what a consumer knows of ended sessions, and as of when. It does
// not change: each method that takes something returns other knowledge. The zero
// value knows nothing.
type Knowledge struct {
	set set
	// keys are the IDs of revoked signing keys, and when they are forgotten.
	keys map[string]int64
	// log and seq are the position in the issuer's log that the set is complete
	// up to. An empty log is none: the next request asks for everything.
	log string
	seq int64
	// enabled is set once an issuer has had a log.
	enabled bool

	// heard is set if the knowledge is complete as of age before begun.
	heard  bool
	begun  Instant
	age    time.Duration
	maxAge time.Duration
	pause  time.Duration

	// unknown counts the entries of an unknown scope that have been ignored.
	unknown int
	// revision grows with each session and key that is dead and was not before.
	revision int
}

// A Request is a question to the feed.
type Request struct {
	// Begun is when the request began.
	Begun Instant
	// Log and After are the position after which entries are missing.
	Log   string
	After int64
	// Nonce is a new random text.
	Nonce string
	// Wait is how long the feed may wait for news, in whole seconds.
	Wait time.Duration
}

// Request returns the next request, which begins now.
func (k *Knowledge) Request(now Instant, nonce string, wait time.Duration) Request {
	r := Request{Begun: now, Log: k.log, After: k.seq, Nonce: nonce, Wait: wait}
	if k.setBack(now) {
		r.Log, r.After = "", 0
	}
	return r
}

// setBack reports whether the wall clock was set back since the last request that
// was answered. While it was ahead, entries may have been forgotten that are in
// force again now.
func (k *Knowledge) setBack(now Instant) bool {
	return k.heard && now.Monotonic-k.begun.Monotonic > now.Wall.Sub(k.begun.Wall)+maxSkew
}

// Wait returns how long the next request may wait for news: 0 while nothing is
// known. When the answer comes, the knowledge is as old as the wait was long, so
// the wait must be a small part of limit, the smallest age that callers demand, 0
// for none but the feed's. Timeout is that of the HTTP client, 0 for none.
func (k *Knowledge) Wait(limit, timeout time.Duration) time.Duration {
	if !k.heard {
		return 0
	}
	wait := min(maxWait, k.limit(limit)/4)
	if timeout > 0 {
		wait = min(wait, timeout-answerTime)
	}
	return max(wait, 0).Truncate(time.Second)
}

// Pause returns how long to wait before the next request, for callers that demand
// an age of at most limit, 0 for none but the feed's.
func (k *Knowledge) Pause(limit time.Duration) time.Duration {
	return min(k.pause, k.limit(limit)/4)
}

// Retry returns the longest time from a failure to the next request, for the same
// callers: several tries must fit into the age that they allow. It is 0 if nothing
// is known, for no limit.
func (k *Knowledge) Retry(limit time.Duration) time.Duration {
	return k.limit(limit) / 8
}

// limit returns the smaller of two limits to the age: the feed's, and one that is
// 0 for none.
func (k *Knowledge) limit(other time.Duration) time.Duration {
	if other > 0 {
		return min(other, k.maxAge)
	}
	return k.maxAge
}

// Age returns how old the knowledge is at most; ok is false if it is not known to
// be complete as of any time.
func (k *Knowledge) Age(now Instant) (age time.Duration, ok bool) {
	return now.Since(k.begun) + k.age, k.heard && !k.setBack(now)
}

// Fresh reports whether the knowledge is young enough to judge a session by, for
// a caller that demands an age of at most limit, 0 for none but the feed's.
func (k *Knowledge) Fresh(now Instant, limit time.Duration) bool {
	age, ok := k.Age(now)
	return ok && age <= k.limit(limit)
}

// Ends reports whether a session has been ended, as far as is known.
func (k *Knowledge) Ends(s *Subject) bool {
	for i := range s.ids[:s.n] {
		if k.set.ends(&s.ids[i], s.issuedAt) {
			return true
		}
	}
	return false
}

// RevokedKey reports whether a signing key has been revoked.
func (k *Knowledge) RevokedKey(keyID string) bool {
	if len(k.keys) == 0 {
		return false
	}
	_, revoked := k.keys[keyID]
	return revoked
}

// Enabled reports whether the issuer keeps a log: if not, nothing can be ended.
func (k *Knowledge) Enabled() bool { return k.enabled }

// Entries returns the number of entries in force.
func (k *Knowledge) Entries() int { return k.set.len() }

// Unknown returns how many entries have been ignored whose scope is unknown.
func (k *Knowledge) Unknown() int { return k.unknown }

// Revision returns a number that grows when sessions or keys have died.
func (k *Knowledge) Revision() int { return k.revision }

// An Answer is what the feed said.
type Answer struct {
	wire.Revocations
	// Age and Nonce are those of the headers.
	Age   time.Duration
	Nonce string
}

// A Verdict is what becomes of an answer. The words are a closed list, fit for a
// metric's label.
type Verdict string

// The verdicts. All but the first two mean that the answer was refused, and that
// nothing has changed.
const (
	// Taken: the knowledge has the age of the answer now.
	Taken Verdict = "ok"
	// FromZero: the answer is of another log, or of an earlier state of the same
	// one. The knowledge is kept, but does not count as fresh until the next
	// request, which asks for everything, is answered.
	FromZero Verdict = "from_zero"
	// OtherNonce: the answer is a copy of one to another request.
	OtherNonce Verdict = "nonce"
	// OtherIssuer: the answer is another issuer's.
	OtherIssuer Verdict = "issuer"
	// NotAfter: entries are missing between what was known and the answer.
	NotAfter Verdict = "after"
	// Disabled: the issuer had a log and says that it has none.
	Disabled Verdict = "disabled"
	// BadNumber: a time, an age or a position makes no sense.
	BadNumber Verdict = "number"
	// TooMany: there are more entries than can be remembered.
	TooMany Verdict = "too_many"
)

// Take returns the knowledge after an answer, which arrived now, to a request.
// Every answer to it must have been taken or dropped before the next request is
// made.
func (k *Knowledge) Take(r *Request, a *Answer, issuer string, now Instant) (*Knowledge, Verdict) {
	switch {
	case a.Nonce != r.Nonce:
		return k, OtherNonce
	case a.Issuer != issuer:
		return k, OtherIssuer
	case !a.sound():
		return k, BadNumber
	case a.After > r.After:
		return k, NotAfter
	case !a.Enabled && k.enabled:
		return k, Disabled
	}
	// What is complete may be of any log. What is not must go on where k ends.
	if a.Enabled && a.After > 0 && (a.Log != k.log || a.Seq < k.seq) {
		next := *k
		next.log, next.seq, next.heard = "", 0, false
		return &next, FromZero
	}
	next := *k
	if !next.learn(a, now) {
		return k, TooMany
	}
	next.heard, next.begun, next.age = true, r.Begun, a.Age
	next.maxAge = time.Duration(a.MaxAge) * time.Second
	next.pause = min(time.Duration(a.Pause)*time.Second, maxPause)
	if a.Enabled {
		next.log, next.seq, next.enabled = a.Log, a.Seq, true
	}
	return &next, Taken
}

// sound reports whether all numbers of an answer make sense.
func (a *Answer) sound() bool {
	maxSeconds := int64(maxMaxAge / time.Second)
	if a.Age < 0 || a.Age > maxMaxAge || a.MaxAge < 1 || a.MaxAge > maxSeconds || a.Pause < 0 || a.Pause > maxSeconds ||
		a.After < 0 || a.Seq < a.After || a.Enabled && a.Log == "" {
		return false
	}
	for i := range a.Revoked {
		r := &a.Revoked[i]
		if known(r.Scope) && (r.DropAt < 1 || r.DropAt > maxDate || r.Scope != wire.RevokeSession && (r.IssuedBefore < 1 || r.IssuedBefore > maxDate)) {
			return false
		}
	}
	return true
}

// known reports whether tokens can have what a scope names. An entry of another
// one ends nothing here.
func known(scope wire.RevocationScope) bool {
	switch scope {
	case wire.RevokeSession, wire.RevokeCustomer, wire.RevokeMember, wire.RevokeAPIKey, wire.RevokeOrganization:
		return true
	default:
		return false
	}
}

// learn adds what an answer says to k, and forgets what is over. It returns false
// if that is too much.
func (k *Knowledge) learn(a *Answer, now Instant) bool {
	if len(a.Revoked) > maxEntries || len(a.RevokedKeys) > maxKeys {
		return false
	}
	seconds := now.Wall.Unix()
	c := change{set: &k.set}
	c.forget(seconds)
	for i := range a.Revoked {
		r := &a.Revoked[i]
		switch {
		case !known(r.Scope):
			k.unknown++
		case a.Enabled && r.DropAt > seconds:
			c.add(r.ID, endOf(r))
		}
	}
	if c.added {
		k.revision++
	}
	if k.learnKeys(a.RevokedKeys, now.Wall) {
		k.revision++
	}
	return len(k.keys) <= maxKeys && k.set.len() <= maxKnown
}

// endOf returns what an entry ends.
func endOf(r *wire.Revocation) end {
	if r.Scope == wire.RevokeSession {
		return end{always, r.DropAt}
	}
	return end{r.IssuedBefore, r.DropAt}
}

// learnKeys adds revoked keys, forgets others, and reports whether one is new.
func (k *Knowledge) learnKeys(ids []string, now time.Time) (added bool) {
	keys := maps.Clone(k.keys)
	if keys == nil {
		keys = map[string]int64{}
	}
	maps.DeleteFunc(keys, func(_ string, forgetAt int64) bool { return now.Unix() >= forgetAt })
	forgetAt := now.Add(keyRetention).Unix() + 1 // rounded up
	for _, id := range ids {
		_, known := keys[id]
		added = added || !known
		keys[id] = max(keys[id], forgetAt)
	}
	k.keys = keys
	return added
}

// Forget returns knowledge without the entries whose time has come. [Knowledge.Take]
// does so, too.
func (k *Knowledge) Forget(now Instant) *Knowledge {
	next := *k
	next.learn(&Answer{}, now)
	return &next
}

// With returns knowledge that one more entry is a part of, whatever the feed says.
func (k *Knowledge) With(r wire.Revocation) *Knowledge {
	next := *k
	c := change{set: &next.set}
	c.add(r.ID, endOf(&r))
	next.revision++
	return &next
}

// withAll returns knowledge that all entries of another one are a part of.
func (k *Knowledge) withAll(other *Knowledge) *Knowledge {
	next := *k
	c := change{set: &next.set}
	for id, e := range other.set.all {
		c.add(id, e)
	}
	next.revision = other.revision + 1
	return &next
}
