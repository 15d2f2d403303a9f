package verify

import (
	"context"
	"errors"
	"time"
)

// An Observer is called for everything a verifier does, for metrics and traces.
// A verifier without one spends nothing on it. Package promverify has an
// implementation for Prometheus.
//
// Both methods are called from many goroutines at once and must be quick: every
// request waits for Verified, and no fetch is scheduled while Refreshed runs.
// Refreshed must not call [Verifier.Close].
type Observer interface {
	// Verified is called once for each call of [Verifier.Verify], with its
	// context.
	Verified(ctx context.Context, verification Verification)
	// Refreshed is called after each attempt to fetch keys.
	Refreshed(refresh Refresh)
}

// Results of a [Refresh] that are not an error.
const (
	// ResultOK is also the Result of a [Verification] of a good token.
	ResultOK = "ok"
	// ResultUnchanged means that the keys have not changed.
	ResultUnchanged = "unchanged"
)

// A Verification is the outcome of one call of [Verifier.Verify].
type Verification struct {
	// Result is one of [Results].
	Result string
	// Cached reports whether the token was verified before, so that its
	// signature was not checked again.
	Cached bool
}

// A Refresh is the outcome of one attempt to fetch keys.
type Refresh struct {
	// Result is [ResultOK], [ResultUnchanged], or an error class as in
	// [Health].
	Result string
	// Keys is how many keys of the set can be used, 0 when the attempt failed.
	Keys int
	// Skipped counts the keys of the set that cannot, as in [Health]. It must
	// not be changed.
	Skipped map[string]int
	// Duration is how long the attempt took.
	Duration time.Duration
}

// A RevocationsObserver is an [Observer] that is also called for the feed of
// revocations.
type RevocationsObserver interface {
	Observer
	// RevocationsAnswered is called after each request to the feed. As for
	// Refreshed, no other is made while it runs, and it must not call
	// [Verifier.Close].
	RevocationsAnswered(answer RevocationsAnswer)
}

// A RevocationsAnswer is the outcome of one request to the feed.
type RevocationsAnswer struct {
	// Result is [ResultOK]; "from_zero", after which the verifier asks for
	// everything again; or a word as in [RevocationsHealth].
	Result string
	// Age is how old the verifier's knowledge is; 0 if there is none.
	Age time.Duration
	// Entries is how many revocations are in force.
	Entries int
	// Duration is how long the request took, the wait for news included.
	Duration time.Duration
}

// Results returns every Result of a [Verification]: [ResultOK], and a word for
// each error of this package, such as "expired" for [ErrExpired]. The list is
// short enough for a metric's label and holds nothing of a token.
func Results() []string {
	words := []string{ResultOK}
	for _, r := range reasons() {
		words = append(words, r.word)
	}
	return words
}

type reason struct {
	err  error
	word string
}

// reasons are the errors of this package, each with its word.
func reasons() [13]reason {
	return [...]reason{
		{ErrMalformed, "malformed"},
		{ErrAlgorithm, "algorithm"},
		{ErrUnknownKey, "unknown_key"},
		{ErrSignature, "signature"},
		{ErrType, "type"},
		{ErrClaims, "claims"},
		{ErrExpired, "expired"},
		{ErrNotYetValid, "not_yet_valid"},
		{ErrIssuer, "issuer"},
		{ErrAudience, "audience"},
		{ErrRevoked, "revoked"},
		{ErrKeysUnavailable, "keys_unavailable"},
		{ErrRevocationsUnavailable, "revocations_unavailable"},
	}
}

// resultOf returns the word for an error of [Verifier.Verify].
func resultOf(err error) string {
	if err == nil {
		return ResultOK
	}
	for _, r := range reasons() {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return "" // no error of ours
}
