package verify

import (
	"context"
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

// Health is the state of a verifier's keys.
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
}

// Health returns the state of the keys, without I/O and without waiting. A
// verifier with Config.Keys alone, or with a Config.KeySource, is always Fresh.
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
	}
}

// Refresh fetches the keys now, due or not, or waits for a fetch that is under
// way already. The error wraps [ErrKeysUnavailable]; the keys from before then
// stay in use for as long as they may. Nothing limits how often Refresh can be
// called, so do not expose it. Where nothing is fetched (Config.Keys alone,
// Config.KeySource) it does nothing and returns nil.
func (v *Verifier) Refresh(ctx context.Context) error {
	return unavailable(v.keys.Refresh(ctx))
}

// Ready returns nil as soon as there are keys to verify with, fresh or stale.
// It starts fetching them and keeps trying for as long as ctx allows; the error
// wraps [ErrKeysUnavailable] and the cause of ctx. Use it at start-up. A
// readiness probe should look at [Verifier.Health] instead. Where nothing is
// fetched (Config.Keys alone, Config.KeySource) Ready returns nil at once.
func (v *Verifier) Ready(ctx context.Context) error {
	return unavailable(v.keys.Ready(ctx))
}

// Close stops fetching keys and returns when every goroutine of the verifier
// has ended. Verify can still be called: it uses the keys it has until they are
// MaxStale past their freshness, and then returns [ErrKeysUnavailable]. Calling
// Close again does nothing. It does not close a Config.KeySource.
func (v *Verifier) Close() { v.keys.Close() }
