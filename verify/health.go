package verify

import (
	"context"
	"maps"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A State says what a verifier's keys are good for. The zero value is
// [Unavailable].
type State int

// The states of a verifier's keys, worst first.
const (
	// Unavailable: there are no keys, or they are too old. Every token gets
	// [ErrKeysUnavailable].
	Unavailable State = iota
	// Stale: the issuer has not confirmed the keys for longer than it
	// promised, or not yet to this process. Tokens are verified; one with an
	// unknown key gets [ErrKeysUnavailable].
	Stale
	// Fresh: the keys are what the issuer publishes.
	Fresh
)

// String returns "fresh", "stale" or "unavailable".
func (s State) String() string {
	switch s {
	case Fresh:
		return "fresh"
	case Stale:
		return "stale"
	default:
		return "unavailable"
	}
}

// MarshalText returns what String does, so that JSON shows the word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Health is what a verifier knows about its keys.
type Health struct {
	// State is what the keys are good for right now.
	State State
	// LastSuccess is when the issuer last answered with keys, or confirmed
	// them; with a snapshot file that may have been in another process. Zero:
	// never.
	LastSuccess time.Time
	// LastError is why the last attempt failed: "timeout", "connection",
	// "status" (neither 200 nor 304, redirects among them), "too_large",
	// "document" (not a JWK Set, or one that contradicts itself) or
	// "no_usable_key". It is empty when the last attempt was good.
	LastError string
	// KeyIDs are the keys that tokens are verified with, in the order in
	// which they are published; none when Unavailable.
	KeyIDs []string
	// Skipped counts the published keys that cannot be used, by reason:
	// "malformed", "unsupported", "not_for_verify", "private",
	// "contradiction", "point", "small_order", "rsa", "thumbprint".
	Skipped map[string]int
	// NextRefresh is when keys are fetched next, now or earlier when that is
	// under way. It is zero when nothing is planned: before the first use,
	// after an hour without any, after Close, and where nothing is ever
	// fetched.
	NextRefresh time.Time
}

// fixed is the [KeySource] of a verifier that got its keys in code.
type fixed struct{ set *jwk.Set }

// Key implements [KeySource].
func (f fixed) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if key := f.set.Key(keyID); key != nil {
		return key, nil
	}
	return nil, errUnknown
}

// Health tells how things are, without I/O and without waiting. A verifier
// with nothing but Config.Keys is always Fresh. So is one with a
// Config.KeySource, about which no more is known than that.
func (v *Verifier) Health() Health {
	switch keys := v.keys.(type) {
	case *source:
		return keys.health(time.Now())
	case fixed:
		return Health{State: Fresh, KeyIDs: keyIDs(keys.set)}
	default:
		return Health{State: Fresh}
	}
}

// Refresh fetches the keys now, due or not, or waits for a fetch that is under
// way already. The error wraps [ErrKeysUnavailable]; keys from before stay in
// use then, as long as they may. Nothing limits how often this can be called,
// so do not let strangers call it. Where nothing is ever fetched (Config.Keys
// alone, Config.KeySource) it does nothing and returns nil.
func (v *Verifier) Refresh(ctx context.Context) error {
	if s, ok := v.keys.(*source); ok {
		return s.refreshNow(ctx)
	}
	return nil
}

// Ready returns nil as soon as there are keys to verify with, fresh or stale.
// It begins to fetch them, and goes on trying for as long as ctx allows; the
// error wraps [ErrKeysUnavailable] and the cause of ctx. Use it at start-up; a
// readiness probe should rather look at [Verifier.Health], and a service that
// can do without for a moment needs neither. Where nothing is ever fetched
// (Config.Keys alone, Config.KeySource) it returns nil at once.
func (v *Verifier) Ready(ctx context.Context) error {
	if s, ok := v.keys.(*source); ok {
		return s.ready(ctx)
	}
	return nil
}

// Close stops fetching keys and returns when every goroutine of the verifier
// has ended. Verify may still be called: it uses the keys there are for as
// long as they may be used without the issuer, up to their freshness and
// MaxStale, and then returns [ErrKeysUnavailable]. Calling Close again does
// nothing. A Config.KeySource is the caller's to close.
func (v *Verifier) Close() {
	if s, ok := v.keys.(*source); ok {
		s.close()
	}
}

func (s *source) health(now time.Time) Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.current.Load()
	// Round strips the monotonic reading: these times leave the process.
	h := Health{LastSuccess: current.at.Round(0), LastError: s.lastError, NextRefresh: s.due.Round(0)}
	if !current.usable(now) {
		return h
	}
	h.State = Stale
	if current.fresh(now) {
		h.State = Fresh
	}
	h.KeyIDs, h.Skipped = keyIDs(current.set), maps.Clone(current.skipped)
	return h
}

func keyIDs(set *jwk.Set) []string {
	ids := make([]string, 0, set.Len())
	for _, key := range set.Keys() {
		ids = append(ids, key.ID())
	}
	return ids
}
