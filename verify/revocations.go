package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/customersession/customersession/verify/internal/revocations"
)

// newFeed returns the feed that config asks to follow. It calls died when sessions
// or keys have been revoked.
func newFeed(config *Config, died func()) *revocations.Source {
	followed := revocations.Config{
		Issuer: config.Issuer, URL: config.RevocationsURL, Client: config.HTTPClient,
		MaxAge: config.MaxRevocationAge, Leeway: config.Leeway, Logger: config.Logger, OnNews: died,
	}
	if config.SnapshotFile != "" {
		followed.SnapshotFile = config.SnapshotFile + ".revocations"
	}
	if observer, ok := config.Observer.(RevocationsObserver); ok {
		followed.OnAnswer = func(e revocations.Event) { observer.RevocationsAnswered(RevocationsAnswer(e)) }
	}
	return revocations.New(&followed)
}

// subject returns what can end a session, if a feed is followed.
func (v *Verifier) subject(s *Session) revocations.Subject {
	if v.feed == nil {
		return revocations.Subject{}
	}
	holder := revocations.Holder{
		OrganizationID: s.OrganizationID, SessionID: s.ID, CustomerID: s.CustomerID, MemberID: s.MemberID, ClientID: s.ClientID,
		IssuedAt: s.IssuedAt.Unix(),
	}
	return holder.Subject()
}

// checkRevocation returns why a session is not accepted although its token is
// good: it was ended, or that cannot be known now.
func (v *Verifier) checkRevocation(ctx context.Context, e *entry, maxAge time.Duration) error {
	if v.feed != nil {
		known, err := v.feed.Known(ctx, maxAge)
		if err := judgeBy(known, err, &e.subject, e.claims.session.KeyID); err != nil {
			return err
		}
	}
	return v.askHook(&e.claims.session)
}

// judgeBy judges a session by what is known. The error says that this is too old.
// What has ended stays ended, however old the knowledge is.
func judgeBy(known *revocations.Knowledge, err error, subject *revocations.Subject, keyID string) error {
	switch {
	case known.Ends(subject), known.RevokedKey(keyID):
		return errRevoked
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// askHook asks Config.IsRevoked.
func (v *Verifier) askHook(session *Session) error {
	if v.isRevoked == nil {
		return nil
	}
	// The hook gets lists of its own, as every caller does.
	asked := *session
	asked.Audience, asked.Scopes = slices.Clone(session.Audience), slices.Clone(session.Scopes)
	if v.isRevoked(asked) {
		return errRevoked
	}
	return nil
}
