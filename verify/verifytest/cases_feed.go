package verifytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// feedPatience is how long a verifier may take to hear of a revocation, or to recover
// from an outage of the feed.
const feedPatience = 45 * time.Second

// A feedCase is something that a feed does to its consumers.
type feedCase struct {
	id, title string
	// provoke does it. The customer is nobody else's.
	provoke func(i *Issuer, customerID string)
	// ends is set if that ends the customer's sessions.
	ends bool
}

func feedCases() []feedCase {
	failing := func(id, title string, f FeedFailure) feedCase {
		return feedCase{id, title, func(i *Issuer, _ string) { i.FailFeed(f) }, false}
	}
	return []feedCase{
		failing("feed-down", "no connection", FeedDown),
		failing("feed-unavailable", "a replica without its log, with a good answer in the body", FeedUnavailable),
		failing("feed-copy", "a stale copy of an earlier answer", FeedCached),
		failing("feed-gap", "an answer that lacks an entry", FeedGap),
		failing("feed-other-issuer", "an answer of another issuer", FeedOtherIssuer),
		failing("feed-bomb", "17 MiB in 17 KiB", FeedBomb),
		failing("feed-million", "a million entries", FeedMillion),
		failing("feed-truncated", "half an answer", FeedTruncated),
		failing("feed-lower-seq", "an earlier state of the log", FeedLowerSeq),
		failing("feed-other-log", "a log that lacks what has ended", FeedOtherLog),
		{"feed-new-log", "a new log without entries", func(i *Issuer, _ string) { i.ReplaceLog() }, false},
		{"feed-older-last", "a newer entry and then an older one for one customer", func(i *Issuer, customerID string) {
			i.AddRevocation(until(customerID, time.Now().Add(time.Minute)))
			i.AddRevocation(until(customerID, time.Now().Add(-time.Hour)))
		}, true},
		{"feed-newer-last", "an older entry and then a newer one for one customer", func(i *Issuer, customerID string) {
			i.AddRevocation(until(customerID, time.Now().Add(-time.Hour)))
			i.AddRevocation(until(customerID, time.Now().Add(time.Minute)))
		}, true},
	}
}

// until returns an entry that ends what a customer was issued before a time.
func until(customerID string, issuedBefore time.Time) wire.Revocation {
	return wire.Revocation{
		Scope: wire.RevokeCustomer, ID: wire.NewRevocationID(wire.RevokeCustomer, OrganizationID, customerID),
		IssuedBefore: issuedBefore.Unix(), DropAt: time.Now().Add(retention).Unix(),
	}
}

// RunRevocations runs the verifier through what a feed of revocations can do to its
// consumers, and reports each wrong verdict. The verifier must follow the feed of Issuer. Run it
// in a testing/synctest bubble where that is possible: otherwise it takes minutes.
//
// In each case, a session that was ended must stay so, another one must not be
// called invalid, and a session that is ended meanwhile must be refused once the
// feed works again.
func (c Conformance) RunRevocations(t *testing.T) {
	t.Helper()
	if err := c.CheckRevocations(t.Context()); err != nil {
		t.Error(err)
	}
}

// CheckRevocations is [Conformance.RunRevocations] that returns what is wrong, one
// error for each case.
func (c Conformance) CheckRevocations(ctx context.Context) error {
	var wrong []error
	for _, attack := range feedCases() {
		if err := c.checkFeed(ctx, attack); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %s: %w", attack.id, attack.title, err))
		}
	}
	return errors.Join(wrong...)
}

func (c Conformance) checkFeed(ctx context.Context, attack feedCase) error {
	i, customerID := c.Issuer, newUUID()
	token := func(sessionID, customerID string) string {
		return i.Token(TokenSpec{Claims: map[string]any{wire.ClaimSessionID: sessionID, wire.ClaimCustomerID: customerID}})
	}
	endedID, laterID := newUUID(), newUUID()
	ended, later, spared, theirs := token(endedID, newUUID()), token(laterID, newUUID()), token(newUUID(), newUUID()), token(newUUID(), customerID)
	defer i.FailFeed(FeedHealthy)
	if err := errors.Join(c.becomes(ctx, spared, Accept), c.becomes(ctx, ended, Accept)); err != nil {
		return fmt.Errorf("before anything has happened: %w", err)
	}
	i.RevokeSession(endedID)
	if err := c.becomes(ctx, ended, Refuse); err != nil {
		return fmt.Errorf("a session that was ended: %w", err)
	}
	attack.provoke(i, customerID)
	i.RevokeSession(laterID)
	for range 10 {
		if err := pauseFor(ctx, time.Second); err != nil {
			return err
		}
		if c.verdict(ctx, ended) == nil {
			return errors.New("a session that was ended is accepted again")
		}
		if err := c.verdict(ctx, spared); err != nil && !errors.Is(err, verify.ErrRevocationsUnavailable) {
			return fmt.Errorf("a good session is refused: %w", err)
		}
	}
	i.FailFeed(FeedHealthy)
	want := map[bool]Verdict{true: Refuse, false: Accept}[attack.ends]
	if err := errors.Join(c.becomes(ctx, later, Refuse), c.becomes(ctx, theirs, want)); err != nil {
		return fmt.Errorf("once the feed works again: %w", err)
	}
	return errors.Join(c.becomes(ctx, spared, Accept), c.becomes(ctx, ended, Refuse))
}

// becomes waits until the verifier reaches a verdict on a token.
func (c Conformance) becomes(ctx context.Context, token string, want Verdict) error {
	for deadline := time.Now().Add(feedPatience); ; {
		err := c.verdict(ctx, token)
		cannotTell := errors.Is(err, verify.ErrKeysUnavailable) || errors.Is(err, verify.ErrRevocationsUnavailable)
		if !cannotTell && (err == nil) == (want == Accept) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("for %v the verifier does not %s it: %v", feedPatience, want, err) //nolint:errorlint // it may be nil
		}
		if err := pauseFor(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// pauseFor waits, and returns an error if the test ends first.
func pauseFor(ctx context.Context, d time.Duration) error {
	if !pause(ctx, nil, d) {
		return context.Cause(ctx)
	}
	return nil
}

// newUUID returns a random UUID (RFC 9562, Section 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
