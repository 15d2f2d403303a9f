package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A State says what a verifier can do with its keys.
type State string

// The states of a verifier's keys, worst first.
const (
	// Unavailable: there are no keys, or they are too old. Every token gets
	// [ErrKeysUnavailable].
	Unavailable State = "unavailable"
	// Stale: the issuer has not confirmed the keys for longer than it
	// promised, or not yet to this process. Tokens are verified; one with an
	// unknown key gets [ErrKeysUnavailable].
	Stale State = "stale"
	// Fresh: the keys are those that the issuer publishes.
	Fresh State = "fresh"
)

// Health is the state of a verifier's keys, and of what it knows of ended
// sessions.
type Health struct {
	State State
	// LastSuccess is when the issuer last answered with keys, or confirmed
	// them; with a snapshot file, possibly to another process. Zero: never.
	LastSuccess time.Time
	// LastError is why the last attempt failed: "timeout", "connection",
	// "status" (neither 200 nor 304, redirects included), "too_large",
	// "document" (not a JWK Set, or one that contradicts itself) or
	// "no_usable_key". It is empty when the last attempt succeeded.
	LastError string
	// KeyIDs are the keys that tokens are verified with, in the order in
	// which they are published; none when Unavailable.
	KeyIDs []string
	// Skipped counts the published keys that cannot be used, by reason:
	// "malformed", "unsupported", "not_for_verify", "private",
	// "contradiction", "point", "small_order", "rsa", "thumbprint".
	Skipped map[string]int
	// NextRefresh is when the keys are fetched next; in the past while that is
	// under way. It is zero when nothing is planned: before the first use,
	// after an hour without any, after Close, and where nothing is fetched.
	NextRefresh time.Time
	// Revocations is the state of the feed.
	Revocations RevocationsHealth
}

// RevocationsHealth is what a verifier knows of ended sessions.
type RevocationsHealth struct {
	// Followed reports whether the verifier follows a feed. If not, the other
	// fields are zero, and a session is good until it expires.
	Followed bool
	// State is Fresh or Unavailable: then every token gets
	// [ErrRevocationsUnavailable].
	State State
	// Age is how old the knowledge is, and MaxAge how old it may get. Age is 0
	// without any, MaxAge before the feed has answered.
	Age, MaxAge time.Duration
	// Enabled reports whether the issuer has said that it keeps a log. If not, no
	// session can be ended.
	Enabled bool
	// Entries is how many revocations are in force.
	Entries int
	// LastError is why the last request failed: "timeout", "connection",
	// "status", "not_found" if the issuer serves no feed and must be upgraded
	// first, or "old" if the answer was older than MaxAge: the issuer cannot read
	// its log. Or it is why its answer was refused: "too_large", "document" (not an
	// answer), "nonce" (a stale copy), "issuer", "after" (entries are missing),
	// "disabled" (the issuer had a log before), "number" (one makes no sense) or
	// "too_many". It is empty when the last request succeeded.
	LastError string
	// Refused counts the answers that were refused, by reason.
	Refused map[string]int
	// Unknown counts entries of a scope that this version does not know. They end
	// nothing here.
	Unknown int
}

// Health returns the state of the verifier, without I/O and without waiting. With
// Config.Keys alone, or with a Config.KeySource, State is always Fresh.
func (v *Verifier) Health() Health {
	h := v.keys.Health()
	state := Unavailable
	switch {
	case h.Usable && h.Fresh:
		state = Fresh
	case h.Usable:
		state = Stale
	}
	return Health{
		State: state, LastSuccess: h.LastSuccess, LastError: h.LastError,
		KeyIDs: h.KeyIDs, Skipped: h.Skipped, NextRefresh: h.NextRefresh,
		Revocations: v.revocationsHealth(),
	}
}

func (v *Verifier) revocationsHealth() RevocationsHealth {
	if v.feed == nil {
		return RevocationsHealth{}
	}
	h := v.feed.Health()
	state := Unavailable
	if h.Fresh {
		state = Fresh
	}
	return RevocationsHealth{
		Followed: true, State: state, Age: h.Age, MaxAge: h.MaxAge, Enabled: h.Enabled,
		Entries: h.Entries, LastError: h.LastError, Refused: h.Refused, Unknown: h.Unknown,
	}
}

// Refresh fetches the keys and asks the feed now, due or not, or waits for what is
// under way already. The error wraps [ErrKeysUnavailable] or
// [ErrRevocationsUnavailable]; what was known before stays in use for as long as
// it may. Nothing limits how often Refresh can be called, so do not expose it. What
// is not fetched (Config.Keys alone, Config.KeySource) is left alone.
func (v *Verifier) Refresh(ctx context.Context) error {
	return v.both(func() error { return v.keys.Refresh(ctx) }, func() error { return v.feed.Refresh(ctx) })
}

// Ready returns nil as soon as tokens can be verified: there are keys, fresh or
// stale, and ended sessions are known. It starts asking for both and keeps trying
// for as long as ctx allows; the error wraps [ErrKeysUnavailable] or
// [ErrRevocationsUnavailable], and the cause of ctx. Use it at start-up. A
// readiness probe should look at [Verifier.Health] instead. It does not wait for
// what is not fetched (Config.Keys alone, Config.KeySource).
func (v *Verifier) Ready(ctx context.Context) error {
	return v.both(func() error { return v.keys.Ready(ctx) }, func() error { return v.feed.Ready(ctx) })
}

// both asks for keys and for revocations at the same time.
func (v *Verifier) both(keys, revoked func() error) error {
	if v.feed == nil {
		return unavailable(keys())
	}
	var keysErr error
	var asking sync.WaitGroup
	asking.Go(func() { keysErr = unavailable(keys()) })
	err := revoked()
	asking.Wait()
	if err != nil {
		err = fmt.Errorf("verify: %w", err)
	}
	return errors.Join(keysErr, err)
}

// Close stops asking the issuer and returns when every goroutine of the verifier
// has ended. Verify can still be called: it uses what it has until that is too
// old, and then returns [ErrKeysUnavailable] or [ErrRevocationsUnavailable].
// Calling Close again does nothing. It does not close a Config.KeySource.
func (v *Verifier) Close() {
	v.keys.Close()
	if v.users != nil {
		v.users.close()
	}
	if v.feed != nil {
		v.feed.Close()
	}
}
