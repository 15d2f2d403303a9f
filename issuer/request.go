package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/weburl"
	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/wire"
)

const (
	maxBody        = 64 << 10
	minLifetime    = time.Minute
	branchByID     = "CustomerSessionCustomerIDCreate"
	branchExternal = "CustomerSessionCustomerExternalIDCreate"
)

// errReturnHost is the error for a return URL that leads elsewhere than the
// organization allows.
var errReturnHost = errors.New("return_url has a host that its organization does not list")

// bodyLimits has room for the metadata of a stated customer.
func bodyLimits() ijson.Limits { return ijson.Limits{Depth: 16, Members: 512} }

// A problem is one entry of a validation error's "detail".
type problem struct {
	Type  string `json:"type"`
	Loc   []any  `json:"loc"`
	Msg   string `json:"msg"`
	Input any    `json:"input,omitempty"`
}

// invalidBodyError is a request body that breaks the schema: a 422 with all
// problems at once.
type invalidBodyError struct{ problems []problem }

func (e *invalidBodyError) Error() string {
	return "request body is invalid: " + e.problems[0].Type
}

// A createRequest is the checked body of a request for a session.
type createRequest struct {
	terms

	customerID uuid.UUID   // uuid.Nil: not given
	externalID string      // empty: not given
	ofMember   *memberName // nil: not given
	returnHost string      // of the return URL; empty: not given
	// stated is the JSON object of the member "customer", or nil.
	stated []byte
}

// A memberName names a member of the customer. The ID counts where both are given.
type memberName struct {
	id         uuid.UUID // uuid.Nil: not given
	externalID string    // empty: not given
}

// namesCustomer returns the member of the request that names the customer, and its
// value.
func (r *createRequest) namesCustomer() (member, value string) {
	if r.customerID != uuid.Nil {
		return "customer_id", r.customerID.String()
	}
	// Clients look for this name also when they sent the older one.
	return "external_customer_id", r.externalID
}

// namesMember returns the member of the request that names the customer's member, and
// its value.
func (r *createRequest) namesMember() (member, value string) {
	if r.ofMember.id != uuid.Nil {
		return "member_id", r.ofMember.id.String()
	}
	return "external_member_id", r.ofMember.externalID
}

// query returns the query for the customer directory.
func (r *createRequest) query(organization uuid.UUID) customers.Query {
	q := customers.Query{OrganizationID: organization, ID: r.customerID, ExternalID: r.externalID, Stated: r.stated}
	if r.ofMember != nil {
		q.MemberID, q.ExternalMemberID = r.ofMember.id, r.ofMember.externalID
	}
	return q
}

// A decoder reads one body into a createRequest.
type decoder struct {
	createRequest
	maxLifetime time.Duration
	invalid     *invalidBodyError // nil while nothing is wrong
}

// decodeCreate reads a request body. The error is an *invalidBodyError.
func decodeCreate(body []byte, defaultLifetime, maxLifetime time.Duration) (*createRequest, error) {
	d := decoder{maxLifetime: maxLifetime}
	d.lifetime = defaultLifetime
	if offset, err := ijson.Members(body, bodyLimits(), d.member); err != nil {
		return nil, notAnObject(body, offset, err)
	}
	d.complete()
	if d.invalid != nil {
		return nil, d.invalid
	}
	return &d.createRequest, nil
}

// notAnObject returns the error for a body that is JSON of another type, or not
// JSON at all.
func notAnObject(body []byte, offset int, err error) error {
	if errors.Is(err, ijson.ErrNotObject) && json.Valid(body) {
		return &invalidBodyError{[]problem{{
			Type: "model_attributes_type", Loc: []any{"body"}, Msg: "Input should be a JSON object",
		}}}
	}
	reason := err.Error()
	for _, mark := range []string{"\xef\xbb\xbf", "\xfe\xff", "\xff\xfe"} {
		if bytes.HasPrefix(body, []byte(mark)) {
			reason = "body begins with a byte order mark; send UTF-8 without one"
		}
	}
	return &invalidBodyError{[]problem{{
		Type: "json_invalid", Loc: []any{"body", offset}, Msg: "JSON decode error: " + reason,
	}}}
}

func (d *decoder) add(kind, msg string, loc ...any) {
	if d.invalid == nil {
		d.invalid = &invalidBodyError{}
	}
	d.invalid.problems = append(d.invalid.problems, problem{Type: kind, Loc: append([]any{"body"}, loc...), Msg: msg})
}

// member decodes one member. Null counts as absent, and unknown members are
// ignored.
func (d *decoder) member(name []byte, v ijson.Value) error {
	if v.Kind() == ijson.Null {
		return nil
	}
	switch string(name) {
	case "customer_id":
		d.setCustomerID(v)
	case "external_customer_id", "customer_external_id":
		d.setExternalID(string(name), v)
	case "member_id":
		d.setMemberID(v)
	case "external_member_id":
		d.setExternalMemberID(v)
	case "return_url":
		d.setReturnURL(v)
	case "expires_in":
		d.setLifetime(v)
	case "customer":
		if v.Kind() != ijson.Object {
			d.add("model_attributes_type", "Input should be a JSON object", "customer")
			return nil
		}
		d.stated = v
	}
	return nil
}

// text returns a string without NUL, or adds a problem.
func (d *decoder) text(v ijson.Value, loc ...any) (string, bool) {
	text, ok := v.Text()
	if !ok {
		d.add("string_type", "Input should be a valid string", loc...)
		return "", false
	}
	if bytes.IndexByte(text, 0) >= 0 {
		d.add("value_error", "NUL characters are not allowed", loc...)
		return "", false
	}
	return string(text), true
}

// id returns a UUID, or adds a problem.
func (d *decoder) id(v ijson.Value, loc ...any) (uuid.UUID, bool) {
	text, ok := d.text(v, loc...)
	if !ok {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	// uuid.Parse also accepts braces, a URN and no dashes. Nothing has the nil UUID.
	if err != nil || len(text) != 36 || id == uuid.Nil {
		d.add("uuid_parsing", "Input should be a valid UUID", loc...)
		return uuid.Nil, false
	}
	return id, true
}

func (d *decoder) setCustomerID(v ijson.Value) {
	if id, ok := d.id(v, branchByID, "customer_id"); ok {
		d.customerID = id
	}
}

// external returns an external ID, or adds a problem.
func (d *decoder) external(v ijson.Value, loc ...any) (string, bool) {
	text, ok := d.text(v, loc...)
	switch {
	case !ok:
	case text == "":
		d.add("value_error", "External ID should not be empty", loc...)
	case utf8.RuneCountInString(text) > customers.MaxExternalID:
		d.add("string_too_long", fmt.Sprintf("String should have at most %d characters", customers.MaxExternalID), loc...)
	default:
		return text, true
	}
	return "", false
}

func (d *decoder) setExternalID(name string, v ijson.Value) {
	text, ok := d.external(v, branchExternal, name)
	switch {
	case !ok:
	case d.externalID != "" && d.externalID != text:
		d.add("value_error", "external_customer_id and customer_external_id differ", branchExternal, name)
	default:
		d.externalID = text
	}
}

func (d *decoder) setMemberID(v ijson.Value) {
	if id, ok := d.id(v, "member_id"); ok {
		d.nameMember().id = id
	}
}

func (d *decoder) setExternalMemberID(v ijson.Value) {
	if id, ok := d.external(v, "external_member_id"); ok {
		d.nameMember().externalID = id
	}
}

func (d *decoder) nameMember() *memberName {
	if d.ofMember == nil {
		d.ofMember = &memberName{}
	}
	return d.ofMember
}

func (d *decoder) setReturnURL(v ijson.Value) {
	text, ok := d.text(v, "return_url")
	if !ok {
		return
	}
	normal, kind, msg := normalizeURL(text)
	if kind != "" {
		d.add(kind, msg, "return_url")
		return
	}
	d.returnURL, d.returnHost = normal.String(), normal.Host()
}

// normalizeURL checks a URL that a customer will be sent to, and returns it as a
// browser writes it. For a bad URL it returns type and text of the problem.
func normalizeURL(text string) (u weburl.URL, kind, msg string) {
	tooLong := fmt.Sprintf("URL should have at most %d characters", wire.MaxReturnURLLength)
	if len(text) > wire.MaxReturnURLLength {
		return u, "string_too_long", tooLong
	}
	u, err := weburl.Parse(text)
	switch {
	case errors.Is(err, weburl.ErrScheme):
		return u, "url_scheme", "URL scheme should be 'http' or 'https'"
	case err != nil:
		return u, "url_parsing", "Input should be a valid URL: " + err.Error()
	// Escaping what the client did not escape makes it longer.
	case len(u.String()) > wire.MaxReturnURLLength:
		return u, "string_too_long", tooLong
	}
	return u, "", ""
}

func (d *decoder) setLifetime(v ijson.Value) {
	seconds, ok := v.Int()
	if !ok || seconds < int64(minLifetime/time.Second) || seconds > int64(d.maxLifetime/time.Second) {
		d.add("value_error", fmt.Sprintf("Input should be a whole number of seconds from %d to %d",
			minLifetime/time.Second, d.maxLifetime/time.Second), "expires_in")
		return
	}
	d.lifetime = time.Duration(seconds) * time.Second
}

// complete checks that the request names a customer. If not, the answer has the
// two problems that clients expect: one for each way to name a customer.
func (d *decoder) complete() {
	if d.invalid == nil && d.customerID == uuid.Nil && d.externalID == "" {
		d.add("missing", "Field required", branchByID, "customer_id")
		d.add("missing", "Field required", branchExternal, "external_customer_id")
	}
}
