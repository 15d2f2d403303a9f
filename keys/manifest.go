package keys

import (
	"errors"
	"slices"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// ErrConflict means that a manifest was changed after it was read. A store
// returns it instead of writing over the change; read it again.
var ErrConflict = errors.New("the manifest was changed in the meantime")

// A Manifest is one version of a key set. One that is in use must not be
// changed. Methods other than Validate expect one that is valid.
type Manifest struct {
	// Version counts published versions, from 1.
	Version int
	// CreatedAt is when this version was made.
	CreatedAt time.Time
	Policy    Policy
	// Keys holds 1 to 64 keys, in any order.
	Keys []*Key
	// Dropped holds keys that have been removed, without their private parts, for
	// [Manifest.RecoveryKey] alone: nothing else knows them, and no key comes back
	// from here. [Rotate] keeps each for [RecoveryPeriod], as long as there are no
	// more than 64 keys in all. In the file they are among the keys.
	Dropped []*Key

	draft bool
}

// A Key is a key and its schedule, which the package documentation draws. All
// times are whole seconds; the zero time means none.
type Key struct {
	// Public is the public half; its ID is the key ID of tokens and, except
	// for an imported key, the thumbprint. It is nil in a draft, for a key that
	// is yet to be generated.
	Public *jwk.Key
	// Private is the private half, nil if it is elsewhere or unknown.
	Private *PrivateKey
	// Signer is a URI of the private half, such as one of RFC 7512, if it is
	// elsewhere. It holds no secret: "pin-value" is refused.
	Signer string

	// PublishAt is when the key enters the JWK Set.
	PublishAt time.Time
	// ActivateAt is when the key may start signing.
	ActivateAt time.Time
	// SignUntil is when the key must stop signing.
	SignUntil time.Time
	// PromisedUntil is the latest SignUntil that any version published.
	PromisedUntil time.Time
	// RemoveAt is when the key leaves the JWK Set.
	RemoveAt time.Time
	// RevokedAt is when the key leaves the JWK Set early and stops signing;
	// zero for a key that is not revoked.
	RevokedAt time.Time

	// Bootstrap exempts the key from rule 1. At most one key may have it: the
	// first key of an installation, made before any consumer exists.
	Bootstrap bool
	// Imported means that the key comes from another issuer. It has no Private,
	// Signer, ActivateAt, SignUntil and PromisedUntil.
	Imported bool
}

// ID returns the key ID, empty for a key that is yet to be generated.
func (k *Key) ID() string {
	if k.Public == nil {
		return ""
	}
	return k.Public.ID()
}

// latestExpiry returns the latest exp that a token of the key may have: rule 3.
func (k *Key) latestExpiry(p Policy) time.Time { return k.RemoveAt.Add(-p.Skew) }

// signable reports whether there is a way to sign with the key, or will be.
func (k *Key) signable() bool {
	return !k.Imported && (k.Private != nil || k.Signer != "" || k.Public == nil)
}

// droppable reports whether the key may be among the dropped ones of a version that
// was made at that time.
func (k *Key) droppable(created time.Time) bool {
	return k.Public != nil && k.Private == nil && k.Signer == "" && k.RevokedAt.IsZero() &&
		!k.RemoveAt.IsZero() && !k.RemoveAt.After(created)
}

// dropped returns the dropped key that has the same ID or is the same key, or nil.
// m may be nil.
func (m *Manifest) dropped(public *jwk.Key) *Key {
	if m == nil || public == nil {
		return nil
	}
	for _, k := range m.Dropped {
		if k.ID() == public.ID() || k.Public.Thumbprint() == public.Thumbprint() {
			return k
		}
	}
	return nil
}

// clone returns a copy that shares nothing mutable with m.
func (m *Manifest) clone() *Manifest {
	c := *m
	c.Keys, c.Dropped = cloneKeys(m.Keys), cloneKeys(m.Dropped)
	return &c
}

func cloneKeys(keys []*Key) []*Key {
	clones := slices.Clone(keys)
	for i, k := range clones {
		key := *k
		clones[i] = &key
	}
	return clones
}

// Draft returns a copy for planning: [Rotate] and the other changes show what
// they would do to it, and when, without generating a key. A new key has a
// schedule and is for the policy's algorithm, but has no ID and no public half.
// [Check] accepts a draft; nothing can encode it or sign with it.
func (m *Manifest) Draft() *Manifest {
	draft := m.clone()
	draft.draft = true
	return draft
}

// generate makes the keys that a draft lacks, which ends the draft.
func (m *Manifest) generate(key generator) error {
	for _, k := range m.Keys {
		if k.Public != nil {
			continue
		}
		private, err := key(m.Policy.Algorithm)
		if err != nil {
			return err
		}
		k.Public, k.Private = private.public, private
	}
	m.draft = false
	return nil
}
