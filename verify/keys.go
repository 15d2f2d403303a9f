package verify

import (
	"context"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/internal/keyset"
)

// A KeySource finds the public key for a key ID. Its error wraps
// [ErrUnknownKey] when there is no such key; every other error means that this
// cannot be known now. It must be safe for concurrent use.
type KeySource interface {
	Key(ctx context.Context, keyID string) (*jwk.Key, error)
}

// A keySource is a KeySource with the methods of one that fetches.
type keySource interface {
	KeySource
	Health() keyset.Health
	Refresh(ctx context.Context) error
	Ready(ctx context.Context) error
	Close()
}

// newKeySource returns the source that config asks for. One that fetches keys
// calls fetched after each attempt.
//
//nolint:ireturn // which one it is, only config knows
func newKeySource(config *Config, fetched func()) keySource {
	switch {
	case config.KeySource != nil:
		return staticSource{KeySource: config.KeySource}
	case config.offline():
		return staticSource{KeySource: givenKeys{config.Keys}, keyIDs: keyset.IDs(config.Keys)}
	}
	kept := keyset.Config{
		Issuer: config.Issuer, URL: config.JWKSetURL, Client: config.HTTPClient,
		Seed: config.Keys, MaxStale: config.MaxStale,
		SnapshotFile: config.SnapshotFile, Leeway: config.Leeway, Logger: config.Logger,
	}
	observer := config.Observer
	kept.OnRefresh = func(e keyset.Event) {
		fetched()
		if observer != nil {
			observer.Refreshed(Refresh(e))
		}
	}
	return keyset.New(&kept)
}

// givenKeys is the KeySource of keys that were given in code.
type givenKeys struct{ set *jwk.Set }

// Key implements [KeySource].
func (g givenKeys) Key(_ context.Context, keyID string) (*jwk.Key, error) {
	if key := g.set.Key(keyID); key != nil {
		return key, nil
	}
	return nil, ErrUnknownKey
}

// A staticSource is a KeySource that this package fetches nothing for.
type staticSource struct {
	KeySource

	keyIDs []string
}

// Health returns that the keys are fresh.
func (s staticSource) Health() keyset.Health {
	return keyset.Health{Usable: true, Fresh: true, KeyIDs: s.keyIDs}
}

// Refresh does nothing.
func (staticSource) Refresh(context.Context) error { return nil }

// Ready does nothing.
func (staticSource) Ready(context.Context) error { return nil }

// Close does nothing: the source is the caller's.
func (staticSource) Close() {}
