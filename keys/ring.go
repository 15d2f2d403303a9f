package keys

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// ErrNoSigningKey means that nothing can be signed now; the errors that wrap it
// say what to do. It passes with time or with a new manifest.
var ErrNoSigningKey = errors.New("no key may sign now")

// A Ring is a manifest whose signers are open, for a running issuer. It is
// immutable and safe for concurrent use; a new manifest needs a new Ring.
type Ring struct {
	manifest *Manifest
	signers  map[*Key]*SigningKey // of the keys of the manifest that can sign
	late     []*lateSigner
	cached   atomic.Pointer[cachedDocument]
}

// A SigningKey is a key to sign with.
type SigningKey struct {
	// Public has the ID of the key and its algorithm.
	Public *jwk.Key
	// Signer signs with the key. Its ES256 signatures are low-S, see
	// [jwk.IsLowS].
	Signer Signer
	// Local means that the private part is in this process, so that signing
	// never waits.
	Local bool
	// LatestExpiry is the latest exp that a token of the key may have: rule 3.
	LatestExpiry time.Time
}

// NewRing validates a copy of the manifest and opens the signers of keys whose
// private part is elsewhere, except of keys that can no longer sign. A signer
// that is away does not fail NewRing: it is opened when it is to sign; see
// [Ring.Away]. With a nil open, a key that needs a signer is an error.
func NewRing(m *Manifest, open OpenSigner) (*Ring, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return newRing(m.clone(), open)
}

// newRing takes over a valid manifest.
func newRing(m *Manifest, open OpenSigner) (*Ring, error) {
	now := time.Now()
	r := &Ring{manifest: m, signers: make(map[*Key]*SigningKey, len(m.Keys))}
	for _, k := range m.Keys {
		var signer Signer
		var err error
		switch {
		case k.Private != nil:
			signer = local{k.Private}
		case k.Signer == "" || !now.Before(k.signsUntil()):
			continue
		default:
			signer, err = r.open(open, k)
		}
		if err != nil {
			return nil, err
		}
		if k.Public.Algorithm() == jwk.ES256 {
			signer = lowS{signer}
		}
		r.signers[k] = &SigningKey{
			Public: k.Public, Signer: signer, Local: k.Private != nil, LatestExpiry: k.latestExpiry(m.Policy),
		}
	}
	return r, nil
}

// open opens the signer of a key whose private part is elsewhere.
//
//nolint:ireturn // which one it is, only open knows
func (r *Ring) open(open OpenSigner, k *Key) (Signer, error) {
	if open == nil {
		scheme, _, _ := strings.Cut(k.Signer, ":")
		return nil, fmt.Errorf("key %q: this program has no support for signers of the kind %q", k.ID(), scheme)
	}
	named := func() (Signer, error) {
		signer, err := open(k.Signer, k.Public)
		if err != nil {
			return nil, fmt.Errorf("opening the signer of key %q: %w", k.ID(), err)
		}
		return signer, nil
	}
	signer, err := named()
	if errors.Is(err, ErrSignerAway) {
		late := &lateSigner{open: named, err: err, asked: time.Now()}
		r.late = append(r.late, late)
		return late, nil
	}
	return signer, err
}

// Away returns why signers that were away when the ring was made still are, as
// of the last attempt to reach them. There is an attempt when one is to sign
// and when Away is called, but then at most every 10 seconds and without
// waiting for the result.
func (r *Ring) Away() []error {
	var away []error
	for _, late := range r.late {
		if err := late.away(); err != nil {
			away = append(away, err)
		}
	}
	return away
}

// Manifest returns the manifest, which must not be changed.
func (r *Ring) Manifest() *Manifest { return r.manifest }

// SigningKey returns the key that signs at t: that of [Manifest.CurrentAt]. It
// does not allocate. The error wraps [ErrNoSigningKey].
func (r *Ring) SigningKey(t time.Time) (*SigningKey, error) {
	if key := r.signers[r.manifest.CurrentAt(t)]; key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoSigningKey, r.whyNot(t))
}

// whyNot returns why no key signs at t: which key will, or which was the last.
func (r *Ring) whyNot(t time.Time) string {
	var coming, last *Key
	for _, k := range r.manifest.Keys {
		switch until := k.signsUntil(); {
		case r.signers[k] == nil:
		case t.Before(k.ActivateAt) && k.ActivateAt.Before(until):
			if coming == nil || newestFirst(coming, k) < 0 {
				coming = k
			}
		case last == nil || until.After(last.signsUntil()) || until.Equal(last.signsUntil()) && newestFirst(k, last) < 0:
			last = k
		}
	}
	switch {
	case coming != nil:
		return fmt.Sprintf("key %q starts signing at %s", coming.ID(), formatTime(coming.ActivateAt))
	case last == nil:
		return "the manifest has no private part of a key that may still sign; is it a public copy?"
	case last.revokedAt(t):
		return fmt.Sprintf("key %q was revoked at %s and no other is ready; activate or publish another key",
			last.ID(), formatTime(last.RevokedAt))
	default:
		return fmt.Sprintf("the lease of key %q ended at %s; rotate the keys, and see why no newer manifest came",
			last.ID(), formatTime(last.signsUntil()))
	}
}
