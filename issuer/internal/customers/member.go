package customers

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Role is what a member may do.
type Role string

// The roles of members.
const (
	Owner          Role = "owner"
	BillingManager Role = "billing_manager"
	OrdinaryMember Role = "member" // the default
)

// Member is one of the people of a customer, which usually is a [Team]. Members
// that a [Directory] returns are complete and valid.
type Member struct {
	// ID is unique in the organization: two customers share no member.
	ID uuid.UUID
	// ExternalID is the member's ID in the merchant's own system, nil when there is
	// none. It is unique for the customer, never empty, and has at most
	// [MaxExternalID] characters.
	ExternalID *string
	Name       *string
	Email      string
	Role       Role
}

// checkMember refuses queries for a member that no directory can answer.
func (q *Query) checkMember() error {
	if q.MemberID == uuid.Nil && !possibleExternalID(q.ExternalMemberID) {
		return ErrMemberNotFound
	}
	return nil
}

// possibleExternalID reports whether something may have such an external ID. For
// PostgreSQL or a server, others would be an error.
func possibleExternalID(id string) bool {
	return id != "" && strings.IndexByte(id, 0) < 0 && utf8.ValidString(id) && utf8.RuneCountInString(id) <= MaxExternalID
}

// names reports whether q names the member: by its ID, or else by its external ID.
func (q *Query) names(m *Member) bool {
	if q.MemberID != uuid.Nil {
		return m.ID == q.MemberID
	}
	return m.ExternalID != nil && *m.ExternalID == q.ExternalMemberID
}

// pick returns what FindMember returns for a customer with the members.
func (q *Query) pick(members []Member) (*Member, error) {
	if err := q.checkMember(); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(members, func(m Member) bool { return q.names(&m) })
	if i < 0 {
		return nil, ErrMemberNotFound
	}
	return &members[i], nil
}

// parseMember reads the member of an answer or a row. It returns [ErrMemberNotFound]
// for a deleted one.
func parseMember(data []byte, infinite bool) (*Member, error) {
	r := memberReader{reader: reader{infinite: infinite}}
	if offset, err := ijson.Members(data, limits(), r.take); err != nil {
		return nil, &ValidationError{[]Problem{malformed(data, offset, err)}}
	}
	switch r.finish(); {
	case len(r.problems) > 0:
		return nil, &ValidationError{r.problems}
	case r.deleted:
		return nil, ErrMemberNotFound
	}
	return &r.found, nil
}

// A memberReader fills in a member and collects its problems.
type memberReader struct {
	reader

	found   Member
	deleted bool
}

// take reads one member of the object. A null leaves the default.
func (r *memberReader) take(name []byte, v ijson.Value) error {
	if r.infinite {
		v = finite(name, v)
	}
	if v.Kind() == ijson.Null {
		r.null(name)
		return nil
	}
	switch string(name) {
	case "id":
		r.id(&r.found.ID, v, "id")
	case "external_id":
		r.found.ExternalID = r.externalID(v)
	case "name":
		r.found.Name = r.text(v, "name")
	case "email":
		if email := r.email(v); email != nil {
			r.found.Email = *email
		}
	case "role":
		r.found.Role = r.role(v)
	case "deleted_at":
		var at time.Time
		r.time(&at, v, "deleted_at")
		r.deleted = true
	default:
		r.unknown(name, knownMemberMembers())
	}
	return nil
}

// finish checks what is required, and fills in the rest.
func (r *memberReader) finish() {
	r.require("id", r.found.ID == uuid.Nil)
	r.require("email", r.found.Email == "")
	if r.found.ExternalID != nil && *r.found.ExternalID == "" {
		r.found.ExternalID = nil
	}
	if r.found.Role == "" {
		r.found.Role = OrdinaryMember
	}
}

// role reads the role of a member.
func (r *reader) role(v ijson.Value) Role {
	text, ok := r.str(v, "role")
	role := Role(text)
	switch role {
	case Owner, BillingManager, OrdinaryMember:
	default:
		if ok {
			r.fail("enum", "Input should be 'owner', 'billing_manager' or 'member'", "role")
		}
	}
	return role
}

// team reads the members of a customer, without deleted ones.
func (r *reader) team(v ijson.Value) {
	if v.Kind() != ijson.Array {
		r.fail("list_type", "Input should be a list", "members")
		return
	}
	at := 0
	v.Elements(func(element ijson.Value) bool {
		r.teamMember(at, element)
		at++
		return true
	})
}

// teamMember reads the member at an index of the list.
func (r *reader) teamMember(at int, v ijson.Value) {
	if v.Kind() != ijson.Object {
		r.failMember(at, Problem{Type: "model_attributes_type", Msg: "Input should be an object"})
		return
	}
	one := memberReader{reader: reader{names: r.names}}
	walk(v, func(name []byte, v ijson.Value) { _ = one.take(name, v) })
	one.finish()
	for _, other := range r.members {
		if other.ID == one.found.ID {
			one.fail("value_error", "Another member has the same value", "id")
		}
		if one.found.ExternalID != nil && other.ExternalID != nil && *other.ExternalID == *one.found.ExternalID {
			one.fail("value_error", "Another member has the same value", "external_id")
		}
	}
	for _, problem := range one.problems {
		r.failMember(at, problem)
	}
	if !one.deleted {
		r.members = append(r.members, one.found)
	}
}

// failMember adds the problem of a member of the list.
func (r *reader) failMember(at int, p Problem) {
	p.Loc = append([]any{"members", at}, p.Loc...)
	r.problems = append(r.problems, p)
}
