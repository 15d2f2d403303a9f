package customers

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// Errors of a [Directory]. Compare with [errors.Is]; [ErrUnavailable] comes
// wrapped, with the reason in the text.
var (
	// ErrNotFound: the organization has no such customer, or has deleted it.
	ErrNotFound = errors.New("customer does not exist")
	// ErrMemberNotFound: the customer has no such member.
	ErrMemberNotFound = errors.New("member does not exist for this customer")
	// ErrNoMembers: the directory has customers, but no members.
	ErrNoMembers = errors.New("this directory has no members")
	// ErrMemberExternalID: the directory finds members by external ID only if their
	// customer has an external ID.
	ErrMemberExternalID = errors.New("member is named by external ID, but its customer has none")
	// ErrMismatch: the ID and the external ID belong to different customers.
	ErrMismatch = errors.New("customer ID and external ID name different customers")
	// ErrStated: the request states a customer, but this directory looks
	// customers up.
	ErrStated = errors.New("customer is stated, but this directory looks customers up")
	// ErrStatedMissing: the request does not state the customer, but this
	// directory has none of its own.
	ErrStatedMissing = errors.New("customer is not stated, and this directory has none of its own")
	// ErrStatedID: the request states a customer without a customer ID.
	ErrStatedID = errors.New("customer is stated without a customer ID")
	// ErrUnavailable: the directory cannot answer now. Trying again later may
	// help.
	ErrUnavailable = errors.New("customer directory is unavailable")
)

// Query names one customer, by ID, external ID, or both. It may name one of the
// customer's members, too.
type Query struct {
	// OrganizationID is the organization on whose behalf the query is made.
	// Customers of other organizations do not exist for it.
	OrganizationID uuid.UUID
	// ID is the customer's ID; [uuid.Nil] means not given.
	ID uuid.UUID
	// ExternalID is the customer's ID in the merchant's own system; empty
	// means not given.
	ExternalID string
	// MemberID is the member's ID; [uuid.Nil] means not given.
	MemberID uuid.UUID
	// ExternalMemberID is the member's ID in the merchant's own system; empty means
	// not given. With a MemberID it is ignored.
	ExternalMemberID string
	// Stated is the customer as the request states it, a JSON object; nil
	// means not given. Only [Request] accepts one.
	Stated []byte
}

// NamesMember reports whether the query names a member.
func (q *Query) NamesMember() bool { return q.MemberID != uuid.Nil || q.ExternalMemberID != "" }

// Directory finds customers. Its methods may be called from several goroutines at
// the same time.
//
// Find returns the customer that q names, or an error: [ErrNotFound],
// [ErrMismatch], [ErrStated], [ErrStatedMissing], [ErrStatedID],
// [ErrUnavailable], or a [*ValidationError] about q.Stated. A customer of
// another organization and a deleted one are not found.
//
// FindMember returns the member that q names of a customer that Find returned for q,
// or an error: [ErrMemberNotFound], [ErrNoMembers], [ErrMemberExternalID] or
// [ErrUnavailable]. A deleted member is not found.
//
// Both return in bounded time, or when ctx ends. Callers share what they return and
// must not change it.
type Directory interface {
	Find(ctx context.Context, q Query) (*Customer, error)
	FindMember(ctx context.Context, q Query, c *Customer) (*Member, error)
}

// check refuses queries that no directory with look-ups can answer.
func (q *Query) check() error {
	if q.Stated != nil {
		return ErrStated
	}
	if q.ID == uuid.Nil && q.ExternalID == "" {
		return ErrNotFound
	}
	// No customer has such an ID (see [Parse]).
	if q.ExternalID != "" && !possibleExternalID(q.ExternalID) {
		return ErrNotFound
	}
	return nil
}

// answer returns what Find returns for a customer found by one of q's IDs.
func (q *Query) answer(c *Customer) (*Customer, error) {
	switch {
	case c.OrganizationID != q.OrganizationID, c.DeletedAt != nil:
		return nil, ErrNotFound
	case q.ID != uuid.Nil && c.ID != q.ID:
		return nil, ErrMismatch
	case q.ExternalID != "" && !c.hasExternalID(q.ExternalID):
		return nil, ErrMismatch
	}
	return c, nil
}

func (c *Customer) hasExternalID(id string) bool {
	return c.ExternalID != nil && *c.ExternalID == id
}
