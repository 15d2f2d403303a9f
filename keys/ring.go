package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// ErrNoSigningKey is why a session cannot be signed now; the errors that wrap
// it say what to do. It ends by itself, or with a new manifest.
var ErrNoSigningKey = errors.New("no key may sign now")

// A Ring is a manifest made ready for a running issuer. It is immutable and
// safe for concurrent use; a new manifest is a new Ring.
type Ring struct {
	manifest *Manifest
	signing  []signing // the newest first
	byID     map[string]*Key
	document atomic.Pointer[segment]
}

// A SigningKey is the key to sign with at an instant.
type SigningKey struct {
	// Public names the key and its algorithm.
	Public *jwk.Key
	// Signer signs with the key. Its ES256 signatures are low-S, whatever made
	// them: see [jwk.IsLowS].
	Signer Signer
	// Local means that the private part is in this process, so that signing
	// never waits.
	Local bool
	// LatestExpiry is the latest exp that a token of the key may have: rule 3.
	LatestExpiry time.Time
}

// signing is a key and when it may sign: from, and before until.
type signing struct {
	SigningKey
	from, until time.Time
	late        *lateSigner // nil unless it was away when the ring was made
}

// NewRing validates the manifest and makes it ready. Keys whose private part
// is elsewhere are opened now, except those that ceased to sign before now.
// One that is away is opened when it is to sign; see [Ring.Away]. With a nil
// open they are an error. The manifest is copied.
func NewRing(m *Manifest, open OpenSigner) (*Ring, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return newRing(m.Clone(), open)
}

// newRing takes over a manifest that is valid.
func newRing(m *Manifest, open OpenSigner) (*Ring, error) {
	now := time.Now()
	r := &Ring{manifest: m, byID: make(map[string]*Key, len(m.Keys))}
	for _, k := range slices.SortedFunc(slices.Values(m.Keys), newestFirst) {
		r.byID[k.ID()] = k
		s := signing{
			SigningKey: SigningKey{Public: k.Public, LatestExpiry: k.LatestExpiry(m.Policy)},
			from:       k.ActivateAt,
			until:      k.signsUntil(),
		}
		switch {
		case k.Private != nil:
			s.Signer, s.Local = k.Private, true
		case k.Signer == "" || !now.Before(s.until):
			continue
		case open == nil:
			scheme, _, _ := strings.Cut(k.Signer, ":")
			return nil, fmt.Errorf("key %q: this program has no support for signers of the kind %q", k.ID(), scheme)
		default:
			var err error
			if s.Signer, s.late, err = openSigner(open, k); err != nil {
				return nil, err
			}
		}
		if k.Public.Algorithm() == jwk.ES256 {
			s.Signer = lowS{s.Signer}
		}
		r.signing = append(r.signing, s)
	}
	return r, nil
}

//nolint:ireturn // what opened it knows
func openSigner(open OpenSigner, k *Key) (Signer, *lateSigner, error) {
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
		return late, late, nil
	}
	return signer, nil, err
}

// Away returns why the signers that were away when the ring was made are so
// still, as far as is known. They are asked again when they are to sign, and
// when somebody asks here, but for that not more often than every 10 seconds,
// and without waiting for the answer.
func (r *Ring) Away() []error {
	var away []error
	for i := range r.signing {
		if late := r.signing[i].late; late != nil {
			if err := late.away(); err != nil {
				away = append(away, err)
			}
		}
	}
	return away
}

// Manifest returns the manifest, which must not be changed.
func (r *Ring) Manifest() *Manifest { return r.manifest }

// SigningKey returns the key that signs at t, that of [Manifest.CurrentAt]. It
// allocates nothing. The error wraps [ErrNoSigningKey].
func (r *Ring) SigningKey(t time.Time) (*SigningKey, error) {
	for i := range r.signing {
		if s := &r.signing[i]; !t.Before(s.from) && t.Before(s.until) {
			return &s.SigningKey, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNoSigningKey, r.whyNot(t))
}

// whyNot says why no key signs at t: what is to come, or else what was last.
func (r *Ring) whyNot(t time.Time) string {
	if len(r.signing) == 0 {
		return "the manifest has no private part of a key that may still sign; is it a public copy?"
	}
	// The newest first, so the last one that is still to come is the nearest.
	var coming, last *signing
	for i := range r.signing {
		s := &r.signing[i]
		if t.Before(s.from) && s.from.Before(s.until) {
			coming = s
		} else if last == nil || s.until.After(last.until) {
			last = s
		}
	}
	if coming != nil {
		return fmt.Sprintf("key %q starts signing at %s", coming.Public.ID(), formatTime(coming.from))
	}
	if k := r.byID[last.Public.ID()]; k.revokedAt(t) {
		return fmt.Sprintf("key %q was revoked at %s and no other is ready; activate or publish another key",
			k.ID(), formatTime(k.RevokedAt))
	}
	return fmt.Sprintf("the lease of key %q ended at %s; rotate the keys, and see why no newer manifest came",
		last.Public.ID(), formatTime(last.until))
}

// PublishedKey returns the key with that ID when it is in the JWK Set at t,
// nil otherwise.
func (r *Ring) PublishedKey(id string, t time.Time) *jwk.Key {
	if k := r.byID[id]; k != nil && k.publishedAt(t) {
		return k.Public
	}
	return nil
}
