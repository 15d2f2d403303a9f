package keys

import (
	"context"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// FromDER is what turns a signature of crypto/ecdsa into that of a JWS.
var FromDER = fromDER

// GenerateKey makes a key as Rotate and others do.
var GenerateKey = generateKey

// NewPrivateKey makes a key of one of the standard library.
var NewPrivateKey = newPrivateKey

// Public returns the public half.
func (k *PrivateKey) Public() *jwk.Key { return k.public }

// Sign implements [Signer].
func (k *PrivateKey) Sign(_ context.Context, signingInput []byte) ([]byte, error) {
	return k.sign(signingInput)
}

// LatestExpiry returns the latest exp that a token of the key may have.
func (k *Key) LatestExpiry(p Policy) time.Time { return k.latestExpiry(p) }

// Clone returns a copy that shares nothing with m that can change.
func (m *Manifest) Clone() *Manifest { return m.clone() }

// NextEvent returns the first instant after t that any schedule names.
func (m *Manifest) NextEvent(t time.Time) time.Time { return m.nextEvent(t) }

// A Document is the JWK Set as it is served at an instant.
type Document struct {
	Body   []byte
	ETag   string
	MaxAge time.Duration
}

// JWKSet returns the document for t.
func (r *Ring) JWKSet(t time.Time) Document {
	d := r.jwkSet(t)
	return Document{d.body, d.etag, d.maxAge}
}

// RotateWith is Rotate with a source of keys.
var RotateWith = rotate

// ActivateWith is Activate with a source of keys.
func ActivateWith(m *Manifest, now time.Time, id string, generate generator) (*Manifest, error) {
	return advance(m, now, generate, func(r *rotation) error { return r.activate(id) })
}

// RevokeWith is Revoke with a source of keys.
func RevokeWith(m *Manifest, now time.Time, id string, generate generator) (*Manifest, error) {
	return advance(m, now, generate, func(r *rotation) error { return r.revoke([]string{id}) })
}

// RollbackWith is Rollback with a source of keys.
func RollbackWith(m *Manifest, now time.Time, generate generator) (*Manifest, error) {
	return advance(m, now, generate, (*rotation).rollback)
}

// AddWith is Add of a new key, with a source of keys.
func AddWith(m *Manifest, now time.Time, generate generator) (*Manifest, error) {
	return advance(m, now, generate, func(r *rotation) error { return r.addKey(nil) })
}
