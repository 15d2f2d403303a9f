package verify

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/internal/revocations"
)

const (
	// judgeEvery is how often the sessions of open contexts are judged again,
	// apart from each time that the verifier fetches keys.
	judgeEvery = 2 * time.Second
	// judgeTimeout bounds how long a KeySource may take to do so.
	judgeTimeout = 5 * time.Second
)

// SessionContext returns a context for work that lasts longer than the request
// that began it: a stream, server-sent events, a WebSocket. The context is done
// when ctx is, when cancel is called, and as soon as [Verifier.Verify] would not
// accept the session any more. Then [context.Cause] returns the same error:
//
//   - [ErrExpired] at Session.ExpiresAt and Config.Leeway;
//   - [ErrUnknownKey] when the issuer has withdrawn the key, at the next fetch
//     or [Verifier.Refresh]; [ErrSignature] when another key has its ID;
//   - [ErrRevoked] as soon as the feed says so; and what Config.IsRevoked or a
//     Config.KeySource says, within two seconds;
//   - [ErrKeysUnavailable] when the keys are MaxStale past their freshness, and
//     [ErrRevocationsUnavailable] when the knowledge of ended sessions is too old:
//     the session may be good, but this can no longer be judged.
//
// The session must come from this verifier or one with the same trust. For any
// other one, such as the zero Session, the context is done from the start, and
// the cause is [ErrIssuer] or [ErrAudience].
//
// An open context costs a timer and no goroutine. Call cancel when the work has
// ended.
func (v *Verifier) SessionContext(ctx context.Context, session Session) (_ context.Context, cancel context.CancelFunc) {
	// The caller may change its own lists.
	session.Audience, session.Scopes = slices.Clone(session.Audience), slices.Clone(session.Scopes)
	judged, end := context.WithCancelCause(ctx)
	open := &openSession{session: session, subject: v.subject(&session), end: end}
	findKey := v.keyFinder(ctx)
	if session.Issuer == v.issuer {
		open.key, _ = findKey(session.KeyID) // the judgement says why there is none
	}
	v.open.add(open, v.judgeAfter(), v.judgeAtIntervals)
	context.AfterFunc(judged, func() { v.open.remove(open) })
	if err := v.judge(open, findKey, func() (*revocations.Knowledge, error) { return v.feed.Known(ctx, 0) }); err != nil {
		end(err)
	}
	limited, stop := context.WithDeadlineCause(judged, session.ExpiresAt.Add(v.leeway), errExpired)
	return limited, func() {
		stop()
		end(nil)
	}
}

// judgeOpen ends the contexts of all sessions that are not accepted any more. It
// is called when there may be other keys than before, and at intervals, because
// time passes, and neither a KeySource nor Config.IsRevoked tells of a change.
func (v *Verifier) judgeOpen() {
	open := v.open.list()
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), judgeTimeout)
	defer cancel()
	findKey := v.keyFinder(ctx)
	for _, o := range open {
		if err := v.judge(o, findKey, v.feed.Peek); err != nil {
			o.end(err)
		}
	}
}

// judge returns why a session is not accepted any more, or nil. It repeats the
// checks of recheck, and refuses sessions of another verifier.
func (v *Verifier) judge(
	o *openSession, findKey func(keyID string) (*jwk.Key, error), known func() (*revocations.Knowledge, error),
) error {
	session := &o.session
	switch {
	case session.Issuer != v.issuer:
		return errOtherIssuer
	case !slices.Contains(session.Audience, v.audience):
		return errOtherAudience
	case !time.Now().Before(session.ExpiresAt.Add(v.leeway)):
		return errExpired
	}
	key, err := findKey(session.KeyID)
	if err != nil {
		return err
	}
	if o.key == nil || !key.Equal(o.key) {
		// Another key under the same ID did not sign its token.
		return errSignature
	}
	if v.feed != nil {
		known, err := known()
		if err := judgeBy(known, err, &o.subject, session.KeyID); err != nil {
			return err
		}
	}
	return v.askHook(session)
}

// keyFinder returns a function that finds the key with an ID. It asks once for
// each: thousands of sessions have a few.
func (v *Verifier) keyFinder(ctx context.Context) func(keyID string) (*jwk.Key, error) {
	type outcome struct {
		key *jwk.Key
		err error
	}
	outcomes := map[string]outcome{}
	return func(keyID string) (*jwk.Key, error) {
		found, asked := outcomes[keyID]
		if !asked {
			found.key, found.err = v.lookUp(ctx, keyID)
			outcomes[keyID] = found
		}
		return found.key, found.err
	}
}

// judgeAtIntervals judges all open sessions, and does so again later if any are
// left.
func (v *Verifier) judgeAtIntervals() {
	v.judgeOpen()
	if v.open.remain() {
		time.AfterFunc(v.judgeAfter(), v.judgeAtIntervals)
	}
}

// judgeAfter returns how long it takes until open sessions are judged again: no
// longer than what is known of ended ones may be used.
func (v *Verifier) judgeAfter() time.Duration {
	if v.feed != nil {
		if left := v.feed.Left(); left > 0 {
			return min(judgeEvery, left+time.Millisecond)
		}
	}
	return judgeEvery
}

// An openSession is a session whose context is not done.
type openSession struct {
	session Session
	subject revocations.Subject
	key     *jwk.Key // that signed its token
	end     context.CancelCauseFunc
}

// openSessions are all of a verifier.
type openSessions struct {
	mu  sync.Mutex
	all map[*openSession]struct{}
	// judging is set while a timer is, or its function runs.
	judging bool
}

// add adds s. Judge is called after some time, unless that is planned already.
func (o *openSessions) add(s *openSession, after time.Duration, judge func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*openSession]struct{}{}
	}
	o.all[s] = struct{}{}
	if !o.judging {
		o.judging = true
		time.AfterFunc(after, judge)
	}
}

func (o *openSessions) remove(s *openSession) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, s)
}

// list returns the sessions that are open now. Judging them takes time, and must
// not keep others from being added.
func (o *openSessions) list() []*openSession {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.all))
}

// remain reports whether there are any left. If not, the next one to be added
// plans its own judging.
func (o *openSessions) remain() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judging = len(o.all) > 0
	return o.judging
}
