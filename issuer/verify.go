package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/verify"
)

var errJustEnded = errors.New("all sessions of the customer were just ended")

// verify verifies a token, and that its session has not been ended. The error is
// one of package verify, or [feed.ErrUnavailable].
func (s *Server) verify(ctx context.Context, token string) (verify.Session, error) {
	session, err := s.verifier.Verify(ctx, token)
	if err != nil {
		return verify.Session{}, err
	}
	if err := s.checkEnded(&session); err != nil {
		return verify.Session{}, err
	}
	return session, nil
}

// checkEnded checks that a session has not been ended. The error is
// [verify.ErrRevoked] or [feed.ErrUnavailable].
func (s *Server) checkEnded(session *verify.Session) error {
	ended, err := s.revocations.Ends(&feed.Session{
		OrganizationID: session.OrganizationID, ID: session.ID, CustomerID: session.CustomerID,
		MemberID: session.MemberID, ClientID: session.ClientID, IssuedAt: session.IssuedAt,
	})
	if err == nil && ended {
		err = verify.ErrRevoked
	}
	return err
}

// endedPatience is how long a request for a session waits until its session would
// not be ended already.
const endedPatience = 3 * time.Second

// outlastEnding waits while a session that is issued now would be dead, because all
// sessions of somebody who is in it were ended until a moment from now. The error
// is errJustEnded. It holds nothing that others need.
func (s *Server) outlastEnding(ctx context.Context, caller *organizations.APIKey, h holder) error {
	if !s.revocations.Recent(time.Now()) {
		return nil
	}
	session := feed.Session{
		OrganizationID: caller.Organization.ID.String(), CustomerID: h.customer.ID.String(), ClientID: caller.ClientID,
	}
	if h.member != nil {
		session.MemberID = h.member.ID.String()
	}
	deadline := time.Now().Add(endedPatience)
	for {
		session.IssuedAt = time.Now()
		before := s.revocations.IssuedBefore(&session)
		switch {
		case before.IsZero():
			return nil
		case before.After(deadline):
			return errJustEnded
		}
		select {
		case <-time.After(time.Until(before)):
		case <-ctx.Done():
			return context.Canceled
		}
	}
}
