package issuer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// rememberInterval is how often the server looks whether the log of revocations
// lacks what it knows about keys.
const rememberInterval = time.Second

// rememberKeys keeps in the log of revocations which keys the manifest in use has
// revoked, and its version, until ctx is done. A replica that starts later, from an
// older manifest, does not bring such a key back.
func (s *Server) rememberKeys(ctx context.Context) {
	ticker := time.NewTicker(rememberInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		s.rememberManifest(ctx, s.keys().Manifest())
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// rememberManifest appends what the log lacks. What fails is tried again, and shows
// in the age of the log.
func (s *Server) rememberManifest(ctx context.Context, m *keys.Manifest) {
	status := s.revocations.Status()
	if !status.Heard || status.Failure != nil || s.revives(m) != nil {
		return
	}
	now := time.Now()
	for _, key := range m.Keys {
		if m.StateAt(key, now) != keys.Revoked || s.revocations.RevokedKey(key.ID()) {
			continue
		}
		if s.revocations.Remember(ctx, revocations.SigningKey, key.ID()) != nil {
			return
		}
	}
	if version := int64(m.Version); version > status.Manifest {
		_ = s.revocations.Remember(ctx, revocations.Manifest, strconv.FormatInt(version, 10))
	}
}

// revives returns an error if a manifest would bring back a key that has been
// revoked, as far as the log of revocations is known.
func (s *Server) revives(m *keys.Manifest) error {
	now := time.Now()
	for _, key := range m.Keys {
		if m.StateAt(key, now) != keys.Revoked && s.revocations.RevokedKey(key.ID()) {
			return fmt.Errorf("manifest version %d brings back key %s, which has been revoked; the revocation log has seen version %d: put the newest manifest back",
				m.Version, key.ID(), s.revocations.Status().Manifest)
		}
	}
	return nil
}

// signingKey returns the key that signs now.
func (s *Server) signingKey(now time.Time) (*keys.SigningKey, error) {
	key, err := s.keys().SigningKey(now)
	if err == nil && s.revocations.RevokedKey(key.Public.ID()) {
		return nil, fmt.Errorf("%w: key %s has been revoked, see /readyz", keys.ErrNoSigningKey, key.Public.ID())
	}
	return key, err
}

// published returns the keys to publish, nil while the manifest in use would bring
// a key back. Consumers keep what they have, or ask another replica.
func (s *Server) published() *keys.Ring {
	ring := s.keys()
	if s.revives(ring.Manifest()) != nil {
		return nil
	}
	return ring
}

// publishedKeys is the key source of the server's own verifier: it need not
// fetch its keys from itself.
type publishedKeys struct {
	ring    func() *keys.Ring
	revoked func(keyID string) bool
}

// Key implements [verify.KeySource].
func (p publishedKeys) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if key := p.ring().Manifest().PublishedKey(keyID, time.Now()); key != nil && !p.revoked(keyID) {
		return key, nil
	}
	return nil, verify.ErrUnknownKey
}

// recoveryKeys is the key source for tokens that only ask for a new link. It also
// has keys that have left the JWK Set, but none that has been revoked.
type recoveryKeys struct {
	ring    func() *keys.Ring
	revoked func(keyID string) bool
}

// Key implements [verify.KeySource].
func (r recoveryKeys) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if key := r.ring().Manifest().RecoveryKey(keyID, time.Now()); key != nil && !r.revoked(keyID) {
		return key, nil
	}
	return nil, verify.ErrUnknownKey
}
