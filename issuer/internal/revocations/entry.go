package revocations

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/customersession/customersession/verify/wire"
)

// A Scope says what an entry is about: one of [wire.RevocationScope], or one of
// those here, which are about the issuer itself.
type Scope string

// The scopes of entries.
const (
	Session      = Scope(wire.RevokeSession)
	Customer     = Scope(wire.RevokeCustomer)
	Member       = Scope(wire.RevokeMember)
	APIKey       = Scope(wire.RevokeAPIKey)
	Organization = Scope(wire.RevokeOrganization)

	// SigningKey means that a signing key has been revoked. The ID is the key ID.
	SigningKey Scope = "signing_key"
	// Manifest means that a replica has accepted a version of the key manifest.
	// The ID is the version, in decimal. The highest one is never dropped.
	Manifest Scope = "manifest"
)

// UntilNow reports whether an entry of the scope ends what was issued until the
// time at which it is appended.
func (s Scope) UntilNow() bool {
	return s == Customer || s == Member || s == APIKey || s == Organization
}

// An Entry is what is asked of a log.
type Entry struct {
	Scope Scope
	// OrganizationID is the organization whose sessions end; zero in the scopes
	// SigningKey and Manifest.
	OrganizationID uuid.UUID
	// ID names what is ended: UTF-8 without zero bytes, at most 255 bytes; empty
	// for Organization.
	ID string
	// DropAt is when the entry may be forgotten, if that is earlier than
	// Retention from now: the end of a session whose token is known. Zero:
	// Retention from now.
	DropAt time.Time
}

// A Record is an entry in a log.
type Record struct {
	Seq            int64
	Scope          Scope
	OrganizationID uuid.UUID
	ID             string
	// IssuedBefore is set when the scope is UntilNow, by the log's clock: see
	// [IssuedBefore].
	IssuedBefore time.Time
	// DropAt is when the record may be forgotten, in whole seconds.
	DropAt time.Time

	redeemed *redeemed // set in the scope redemption, which is in no log
}

// maxID is the length in bytes of the longest ID.
const maxID = 255

// check reports, as ErrEntry, what no engine can keep.
func (e *Entry) check() error {
	switch {
	case e.Scope == "":
		return fmt.Errorf("%w: it has no scope", ErrEntry)
	case len(e.ID) > maxID:
		return fmt.Errorf("%w: the ID is longer than %d bytes", ErrEntry, maxID)
	case !utf8.ValidString(e.ID) || strings.ContainsRune(e.ID, 0):
		// PostgreSQL keeps neither in a text.
		return fmt.Errorf("%w: the ID is not UTF-8, or has a zero byte", ErrEntry)
	case e.Scope == Manifest && !isVersion(e.ID):
		return fmt.Errorf("%w: the version of a manifest is not a number", ErrEntry)
	}
	return nil
}

func isVersion(id string) bool {
	_, err := strconv.ParseUint(id, 10, 63)
	return err == nil
}

// record returns the record of an entry that is appended at a time of the log's
// clock.
func (e *Entry) record(seq int64, now time.Time) Record {
	r := Record{Seq: seq, Scope: e.Scope, OrganizationID: e.OrganizationID, ID: e.ID}
	until := now
	if e.Scope.UntilNow() {
		r.IssuedBefore = IssuedBefore(now)
		until = r.IssuedBefore
	}
	r.DropAt = until.Add(Retention)
	if !e.DropAt.IsZero() && e.DropAt.Before(r.DropAt) {
		r.DropAt = e.DropAt
	}
	if whole := r.DropAt.Truncate(time.Second); whole.Before(r.DropAt) {
		r.DropAt = whole.Add(time.Second)
	}
	return r
}
