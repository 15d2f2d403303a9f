package customers

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"reflect"
	"time"

	"github.com/google/uuid"
)

// MaxFile is how many customers a [File] is made for: they load in two seconds and
// take at most 250 MiB of memory. More take time and memory in proportion;
// [Postgres] suits them better.
const MaxFile = 100_000

// File is the [Directory] of a JSON Lines file: an immutable snapshot of what
// the file held when [LoadFile] read it. To follow a file that changes, load it
// again and use the new File.
type File struct {
	byID       map[idKey]*Customer
	byExternal map[externalKey]*Customer
	members    map[idKey][]Member // of a customer
	memberIDs  map[idKey]struct{} // of all customers; nil after loading
	places     map[uuid.UUID]Place
	loadedAt   time.Time // is the default of created_at
}

// Place says where a file first names an organization, counted from 1, in lines
// and bytes, and how many customers of it there are.
type Place struct {
	Line, Column, Customers int
}

// The two names of a customer in an organization.
type (
	idKey       struct{ organization, id uuid.UUID }
	externalKey struct {
		organization uuid.UUID
		id           string
	}
)

// Len returns the number of customers.
func (f *File) Len() int { return len(f.byID) }

// Organizations yields the organizations of the customers, in no order.
func (f *File) Organizations() iter.Seq2[uuid.UUID, Place] { return maps.All(f.places) }

// Compare counts the customers of next that f does not have, those that differ,
// and those of f that next does not have.
func (f *File) Compare(next *File) (added, changed, removed int) {
	for id, was := range f.byID {
		switch is := next.byID[id]; {
		case is == nil:
			removed++
		case !f.same(was, next, is):
			changed++
		}
	}
	return len(next.byID) - (len(f.byID) - removed), changed, removed
}

// same reports whether a customer of f is the same as one of next. Without a
// created_at of their own, both have that of their file.
func (f *File) same(was *Customer, next *File, is *Customer) bool {
	if was.CreatedAt.Equal(f.loadedAt) && is.CreatedAt.Equal(next.loadedAt) {
		dated := *is
		dated.CreatedAt = was.CreatedAt
		is = &dated
	}
	id := idKey{is.OrganizationID, is.ID}
	return bytes.Equal(was.AppendJSON(nil), is.AppendJSON(nil)) && reflect.DeepEqual(f.members[id], next.members[id])
}

// Find looks the customer up in memory; it never returns [ErrUnavailable].
func (f *File) Find(_ context.Context, q Query) (*Customer, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	c := f.byExternal[externalKey{q.OrganizationID, q.ExternalID}]
	if q.ID != uuid.Nil {
		c = f.byID[idKey{q.OrganizationID, q.ID}]
	}
	if c == nil {
		return nil, ErrNotFound
	}
	return q.answer(c)
}

// FindMember looks the member up in memory; it never returns [ErrUnavailable].
func (f *File) FindMember(_ context.Context, q Query, c *Customer) (*Member, error) {
	return q.pick(f.members[idKey{c.OrganizationID, c.ID}])
}

// add adds a customer with its members. It returns the place of a value that another
// customer of the organization, or a member of it, has; nil if there is none.
func (f *File) add(c *Customer, members []Member) (duplicate []any) {
	id := idKey{c.OrganizationID, c.ID}
	if f.byID[id] != nil {
		return []any{"id"}
	}
	f.byID[id] = c
	if len(members) > 0 {
		f.members[id] = members
	}
	for i := range members {
		id := idKey{c.OrganizationID, members[i].ID}
		if _, known := f.memberIDs[id]; known {
			return []any{"members", i, "id"}
		}
		f.memberIDs[id] = struct{}{}
	}
	if c.ExternalID == nil {
		return nil
	}
	external := externalKey{c.OrganizationID, *c.ExternalID}
	if f.byExternal[external] != nil {
		return []any{"external_id"}
	}
	f.byExternal[external] = c
	return nil
}
