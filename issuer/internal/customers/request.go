package customers

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Request is the [Directory] for a trusted checkout that states its customers in
// the request. It looks nothing up: the caller of the API is the authority and
// can name any customer. The zero value is ready to use.
type Request struct{}

// Find returns the customer that q.Stated describes. An individual needs an
// e-mail address. The ID, the external ID and the organization come from q; if
// q.Stated has them, too, they must be the same ([ErrMismatch], for the
// organization a [*ValidationError]). A missing created_at is the present time.
func (Request) Find(_ context.Context, q Query) (*Customer, error) {
	if q.Stated == nil {
		return nil, ErrStatedMissing
	}
	if q.ID == uuid.Nil {
		return nil, ErrStatedID
	}
	c, _, err := parseStated(q.Stated, statedDefaults(&q))
	if err != nil {
		return nil, err
	}
	if c.OrganizationID != q.OrganizationID {
		return nil, &ValidationError{[]Problem{{
			Loc:  []any{"organization_id"},
			Type: "value_error",
			Msg:  "Input should be the organization that the API key belongs to",
		}}}
	}
	if c.ExternalID == nil && q.ExternalID != "" {
		c.ExternalID = &q.ExternalID
	}
	return q.answer(c)
}

// FindMember returns the member among those that q.Stated lists.
func (Request) FindMember(_ context.Context, q Query, _ *Customer) (*Member, error) {
	_, members, err := parseStated(q.Stated, statedDefaults(&q))
	if err != nil {
		return nil, err
	}
	return q.pick(members)
}

func statedDefaults(q *Query) Defaults {
	return Defaults{ID: q.ID, OrganizationID: q.OrganizationID, CreatedAt: time.Now()}
}
