package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// How consumers ask an issuer which sessions have been ended.
const (
	// RevocationsPath is the path of the feed, below the issuer's URL.
	RevocationsPath = "/.well-known/customer-session-revocations"
	// RevocationsAge is the header that says how old the knowledge in an answer
	// is, in seconds, when the answer is written.
	RevocationsAge = "Revocations-Age"
	// RevocationsNonce is the header that repeats the nonce of the request. An
	// answer with another nonce is a copy of the answer to another request.
	RevocationsNonce = "Revocations-Nonce"
)

// A RevocationScope says which sessions a revocation ends.
type RevocationScope string

// The scopes, and what the ID of a revocation names in each. A revocation ends
// sessions of one organization only.
const (
	RevokeSession      RevocationScope = "session"      // the session ID
	RevokeCustomer     RevocationScope = "customer"     // the customer ID
	RevokeMember       RevocationScope = "member"       // the member ID
	RevokeAPIKey       RevocationScope = "api_key"      // the API key's client ID
	RevokeOrganization RevocationScope = "organization" // nothing: the ID is empty
)

// Revocations is an answer of the feed.
type Revocations struct {
	// Issuer is the issuer's URL, as in its tokens.
	Issuer string `json:"issuer"`
	// Enabled is false when the issuer keeps no log: then no session can be ended.
	Enabled bool `json:"enabled"`
	// Log names the incarnation of the log. Another one may lack what this one
	// had.
	Log string `json:"log"`
	// Seq is the number of the newest entry that the answer takes into account.
	Seq int64 `json:"seq"`
	// After is the number after which Revoked begins; 0 means that it is
	// complete.
	After int64 `json:"after"`
	// MaxAge is for how many seconds the knowledge may be used.
	MaxAge int64 `json:"max_age"`
	// Pause is how many seconds to wait before the next request.
	Pause int64 `json:"pause"`
	// Revoked are the entries in force, in order.
	Revoked []Revocation `json:"revoked"`
	// RevokedKeys are the IDs of all signing keys that have been revoked.
	RevokedKeys []string `json:"revoked_keys"`
}

// A Revocation ends the session that it names, or, in every other scope, all
// sessions that it names and that were issued before a time.
type Revocation struct {
	Scope RevocationScope `json:"scope"`
	ID    RevocationID    `json:"id"`
	// IssuedBefore is in seconds since 1970, 0 in the scope session. A session is
	// dead if and only if its "iat" is less.
	IssuedBefore int64 `json:"issued_before,omitempty"`
	// DropAt is when the revocation may be forgotten, in seconds since 1970: no
	// session that it ends can be accepted any more.
	DropAt int64 `json:"drop_at"`
}

// A RevocationID stands for what a revocation names. The feed is public and must
// not reveal who the customers are: recognizing an ID takes the organization's ID
// and that of what has ended.
type RevocationID [16]byte

// NewRevocationID returns the ID for something of an organization: the first 16
// bytes of the SHA-256 of scope, organization ID and ID, with a zero byte between
// them.
func NewRevocationID(scope RevocationScope, organizationID, id string) RevocationID {
	var scratch [128]byte
	text := append(scratch[:0], scope...)
	text = append(text, 0)
	text = append(text, organizationID...)
	text = append(text, 0)
	text = append(text, id...)
	sum := sha256.Sum256(text)
	return RevocationID(sum[:16])
}

// String returns the ID in base64url, as in the feed.
func (id RevocationID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (id RevocationID) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, id[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *RevocationID) UnmarshalText(text []byte) error {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(id) {
		return errRevocationID
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(id[:], text); err != nil {
		return errRevocationID
	}
	return nil
}

var errRevocationID = errors.New("revocation ID is not 16 bytes in base64url")
