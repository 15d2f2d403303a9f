package issuer

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys"
)

// SignForTest signs a session with fixed claims, for benchmarks and examples of
// what signing costs.
func SignForTest(ctx context.Context, key *keys.SigningKey, now time.Time) (string, error) {
	id := uuid.MustParse("992fae2a-2a17-4b7a-8d9e-e287cf90131b")
	return signToken(ctx, key, &claimSet{
		issuer: "https://sessions.example.com", audience: DefaultAudience,
		sessionID: id, customerID: id, organizationID: id, clientID: "PhZvuTYM",
		issuedAt: now, expiresAt: now.Add(time.Hour), returnURL: "https://shop.example.com/",
	})
}

// Operations returns the handler for operators.
func (s *Server) Operations() http.Handler { return s.operations() }

// ExpiryForTest returns when a session ends.
func ExpiryForTest(issuedAt time.Time, lifetime time.Duration, key *keys.SigningKey) (time.Time, error) {
	return expiry(issuedAt, lifetime, key)
}

// DecodeForTest runs the decoder of request bodies.
func DecodeForTest(body []byte) error {
	_, err := decodeCreate(body, defaultLifetime, longestLifetime)
	return err
}

// Pauses returns what makes the pauses of the feed for a maximum age.
func Pauses(maxAge time.Duration) func(client netip.Prefix, least time.Duration) time.Duration {
	p := newPauses(maxAge)
	return func(client netip.Prefix, least time.Duration) time.Duration { return p.next(client, false, least) }
}

// RecoveryID is the ID of the event about a session at a time.
var RecoveryID = recoveryID
