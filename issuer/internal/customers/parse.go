package customers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Defaults are values for members that are missing or null. A member whose field
// is zero is required.
type Defaults struct {
	ID             uuid.UUID
	OrganizationID uuid.UUID
	CreatedAt      time.Time
}

// limits bound the JSON that is read. A customer needs little; the rest is for
// unknown members, such as further columns of a table.
func limits() ijson.Limits { return ijson.Limits{Depth: 16, Members: 4096} }

// Parse reads one customer from a JSON object, checks it and normalizes it: UUIDs
// to lower case, times to UTC and whole seconds (a time without a zone is in
// UTC), the country to upper case, an empty external ID to none, missing
// metadata to {} and a missing picture to that of [Customer.AvatarURL]. An
// external ID has at most [MaxExternalID] characters.
//
// The members id, organization_id and created_at are required unless d has
// them, and email for an individual; everything else may be missing or null.
// Unknown members are ignored, but the whole text must be unambiguous JSON: no
// name twice in one object, no lone surrogate, at most 16 levels and 4096
// members.
//
// The error is a [*ValidationError] with all problems at once. The customer
// shares no memory with data.
func Parse(data []byte, d Defaults) (*Customer, error) {
	return valid((&reader{}).read(data, d))
}

// parseStated is [Parse] for a customer that a request states with its members.
func parseStated(data []byte, d Defaults) (*Customer, []Member, error) {
	r := &reader{people: true}
	c, err := valid(r.read(data, d))
	return c, r.members, err
}

// parseLine is [Parse] for a line of a file, which has the customer's members, too.
// A member of an object whose name is nearly a known one is a problem: people write
// files, and a member that is ignored misleads them.
func parseLine(data []byte, d Defaults) (*Customer, []Member, []Problem) {
	r := &reader{names: true, people: true}
	c, problems := r.read(data, d)
	return c, r.members, problems
}

// parseRow is [Parse] for a row of PostgreSQL, whose times may be infinite.
func parseRow(data []byte, d Defaults) (*Customer, error) {
	return valid((&reader{infinite: true}).read(data, d))
}

// valid returns the customer, or an error with the problems.
func valid(c *Customer, problems []Problem) (*Customer, error) {
	if len(problems) > 0 {
		return nil, &ValidationError{problems}
	}
	return c, nil
}

// read reads a customer and returns it with its problems.
func (r *reader) read(data []byte, d Defaults) (*Customer, []Problem) {
	r.customer = &Customer{
		ID: d.ID, OrganizationID: d.OrganizationID, CreatedAt: wholeSeconds(d.CreatedAt),
		Type: Individual,
	}
	if offset, err := ijson.Members(data, limits(), r.member); err != nil {
		return nil, []Problem{malformed(data, offset, err)}
	}
	r.finish()
	return r.customer, r.problems
}

// malformed describes text that is no JSON object, or an ambiguous one.
func malformed(data []byte, offset int, err error) Problem {
	if errors.Is(err, ijson.ErrNotObject) && json.Valid(data) {
		return Problem{Type: "model_attributes_type", Msg: "Input should be an object"}
	}
	return Problem{Type: "json_invalid", Msg: fmt.Sprintf(
		"Input should be one JSON object in UTF-8 (byte %d: %s)", offset+1, err.Error())}
}

// reader fills in a customer and collects its problems.
type reader struct {
	customer *Customer
	members  []Member // of the customer
	people   bool     // read the customer's members
	names    bool     // refuse names that are nearly known
	infinite bool     // times may be infinite
	nulls    []string // names of the required members that are null
	problems []Problem
}

// member reads one member of the customer. A null leaves the default.
func (r *reader) member(name []byte, v ijson.Value) error {
	if r.infinite {
		v = finite(name, v)
	}
	if v.Kind() == ijson.Null {
		r.null(name)
		return nil
	}
	c := r.customer
	switch string(name) {
	case "id":
		r.id(&c.ID, v, "id")
	case "organization_id":
		r.id(&c.OrganizationID, v, "organization_id")
	case "created_at":
		r.time(&c.CreatedAt, v, "created_at")
	case "modified_at":
		c.ModifiedAt = r.optionalTime(v, "modified_at")
	case "metadata":
		c.Metadata = r.metadata(v)
	case "email":
		c.Email = r.email(v)
	case "email_verified":
		c.EmailVerified = r.flag(v, "email_verified")
	case "type":
		c.Type = r.kind(v)
	case "billing_address":
		c.BillingAddress = r.address(v)
	case "tax_id":
		c.TaxID = r.taxID(v)
	case "default_payment_method_id":
		c.DefaultPaymentMethodID = r.optionalID(v, "default_payment_method_id")
	case "deleted_at":
		c.DeletedAt = r.optionalTime(v, "deleted_at")
	case "first_user_event_at":
		c.FirstUserEventAt = r.optionalTime(v, "first_user_event_at")
	case "avatar_url":
		c.AvatarURL = r.pictureURL(v)
	default:
		r.anyText(name, v)
	}
	return nil
}

// finite returns null in place of an infinite time, as PostgreSQL writes it. A
// customer deleted at -infinity was deleted before any time.
func finite(name []byte, v ijson.Value) ijson.Value {
	switch string(name) {
	case "created_at", "modified_at", "deleted_at", "first_user_event_at":
	default:
		return v
	}
	switch text, _ := v.Text(); string(text) {
	case "infinity":
		return ijson.Value("null")
	case "-infinity":
		if string(name) == "deleted_at" {
			return ijson.Value(`"1000-01-01T00:00:00Z"`)
		}
		return ijson.Value("null")
	default:
		return v
	}
}

// anyText reads one of the members that may hold any text.
func (r *reader) anyText(name []byte, v ijson.Value) {
	c := r.customer
	switch string(name) {
	case "external_id":
		c.ExternalID = r.externalID(v)
	case "name":
		c.Name = r.text(v, "name")
	case "billing_name":
		c.BillingName = r.text(v, "billing_name")
	case "locale":
		c.Locale = r.text(v, "locale")
	case "members":
		if r.people {
			r.team(v)
		}
	default:
		r.unknown(name, knownMembers())
	}
}

// null remembers a required member that is null: the problem differs from that of
// a missing one.
func (r *reader) null(name []byte) {
	switch string(name) {
	case "id", "organization_id", "created_at", "email":
		r.nulls = append(r.nulls, string(name))
	}
}

// finish checks what depends on several members, and fills in the rest.
func (r *reader) finish() {
	c := r.customer
	r.require("id", c.ID == uuid.Nil)
	r.require("organization_id", c.OrganizationID == uuid.Nil)
	r.require("created_at", c.CreatedAt.IsZero())
	if c.Type == Individual {
		r.require("email", c.Email == nil)
	}
	if c.ExternalID != nil && *c.ExternalID == "" {
		c.ExternalID = nil
	}
	if c.Metadata == nil {
		c.Metadata = json.RawMessage("{}")
	}
	if c.AvatarURL == "" {
		c.AvatarURL = defaultAvatarURL(c)
	}
}

// require adds a problem for a member without a value, unless there is one
// already.
func (r *reader) require(name string, absent bool) {
	if !absent || r.failed(name) {
		return
	}
	if slices.Contains(r.nulls, name) {
		r.fail("value_error", "Input should not be null", name)
		return
	}
	r.fail("missing", "Field required", name)
}

func (r *reader) failed(name string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool {
		return p.Loc[0] == name
	})
}

// fail adds a problem. It copies loc, so that the callers' lists stay on the stack
// while nothing is wrong.
func (r *reader) fail(kind, msg string, loc ...string) {
	path := make([]any, len(loc))
	for i, part := range loc {
		path[i] = part
	}
	r.problems = append(r.problems, Problem{Loc: path, Type: kind, Msg: msg})
}
