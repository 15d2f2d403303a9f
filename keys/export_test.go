package keys

import "time"

// FromDER is what turns a signature of crypto/ecdsa into that of a JWS.
var FromDER = fromDER

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
