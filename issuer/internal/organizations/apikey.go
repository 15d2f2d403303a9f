package organizations

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"reflect"
	"slices"
	"time"
)

// Scope is a permission of an API key.
type Scope string

// The scopes.
const (
	// ScopeWrite allows creating customer sessions.
	ScopeWrite Scope = "customer_sessions:write"
	// ScopeIntrospect allows asking about sessions (RFC 7662).
	ScopeIntrospect Scope = "customer_sessions:introspect"
	// ScopeRevoke allows ending sessions.
	ScopeRevoke Scope = "customer_sessions:revoke"
	// ScopeExchange allows exchanging the codes of portal links for sessions.
	ScopeExchange Scope = "customer_sessions:exchange"
)

// Scopes returns all scopes.
func Scopes() []Scope { return []Scope{ScopeWrite, ScopeIntrospect, ScopeRevoke, ScopeExchange} }

// known reports whether s is one of the scopes.
func (s Scope) known() bool {
	return slices.Contains(Scopes(), s)
}

// APIKey is one key of an organization. It is shared by all callers and must not
// be changed.
type APIKey struct {
	// Name identifies the key within its organization, in logs and metrics.
	Name string
	// ClientID identifies the key in tokens: 8 characters of base64url, derived
	// from the hash of the secret. It does not depend on the name, and says
	// nothing about the secret.
	ClientID string
	// Organization owns the key.
	Organization *Organization
	// ExpiresAt is the first instant at which the key is refused; zero: never.
	ExpiresAt time.Time

	scopes []Scope
	hash   [sha256.Size]byte
}

// Scopes yields the scopes of the key, in the order of the file.
func (k *APIKey) Scopes() iter.Seq[Scope] { return slices.Values(k.scopes) }

// Has reports whether the key has the scope.
func (k *APIKey) Has(scope Scope) bool {
	return slices.Contains(k.scopes, scope)
}

// Same reports whether two versions of a key are the same, whatever became of
// their organization.
func (k *APIKey) Same(other *APIKey) bool {
	a, b := *k, *other
	a.Organization, b.Organization = nil, nil
	return reflect.DeepEqual(a, b)
}

// clientID derives a key's ClientID from the hash of its secret. It hashes once
// more, under a label, so that tokens show no part of what the file holds.
func clientID(hash [sha256.Size]byte) string {
	sum := sha256.Sum256(append([]byte("customersession client_id\x00"), hash[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// expired reports whether the key is refused at now.
func (k *APIKey) expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}
