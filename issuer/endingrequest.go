package issuer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

const (
	maxReason    = 255 // characters
	clientLength = 8   // of a client ID
)

// A revokeRequest is the checked body of a request to end sessions.
type revokeRequest struct {
	ending

	// What names something by another name than its ID; empty: not given.
	apiKey, externalID string
}

// A revokeDecoder reads one body into a revokeRequest.
type revokeDecoder struct {
	decoder

	revokeRequest
	named []string // the members that name what is to be ended
}

// decodeRevoke reads a request body. Unlike other requests it may have no unknown
// members: ending less than was meant must not look like success. The error is an
// *invalidBodyError.
func decodeRevoke(body []byte) (*revokeRequest, error) {
	d := &revokeDecoder{}
	if offset, err := ijson.Members(body, bodyLimits(), d.member); err != nil {
		return nil, notAnObject(body, offset, err)
	}
	const all = "session_id, customer_id, external_customer_id, member_id, api_key, client_id, organization"
	switch {
	case d.invalid != nil:
	case len(d.named) == 0:
		d.add("missing", "Field required: one of "+all)
	case len(d.named) > 1:
		d.add("value_error", "Only one of these can be given: "+strings.Join(d.named, ", "))
	}
	if d.invalid != nil {
		return nil, d.invalid
	}
	return &d.revokeRequest, nil
}

// member decodes one member. Null counts as absent.
func (d *revokeDecoder) member(key []byte, v ijson.Value) error {
	name := string(key)
	scope, known := map[string]revocations.Scope{
		"session_id": revocations.Session, "customer_id": revocations.Customer, "external_customer_id": revocations.Customer,
		"member_id": revocations.Member, "api_key": revocations.APIKey, "client_id": revocations.APIKey,
		"organization": revocations.Organization,
	}[name]
	switch {
	case v.Kind() == ijson.Null:
		return nil
	case name == "reason":
		d.setReason(v)
		return nil
	case !known:
		d.add("extra_forbidden", "Extra inputs are not permitted", name)
		return nil
	}
	d.named = append(d.named, name)
	d.entry.Scope = scope
	switch name {
	case "organization":
		if string(v) != "true" {
			d.add("value_error", "Input should be true", name)
		}
	case "session_id", "customer_id", "member_id":
		d.setID(name, v)
	default:
		d.setName(name, v)
	}
	return nil
}

func (d *revokeDecoder) setID(name string, v ijson.Value) {
	text, ok := d.text(v, name)
	if !ok {
		return
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) {
		d.add("uuid_parsing", "Input should be a valid UUID", name)
		return
	}
	d.entry.ID = id.String()
}

func (d *revokeDecoder) setName(name string, v ijson.Value) {
	text, ok := d.text(v, name)
	switch {
	case !ok:
	case text == "":
		d.add("value_error", "Input should not be empty", name)
	case name == "external_customer_id" && utf8.RuneCountInString(text) > customers.MaxExternalID:
		d.add("string_too_long", fmt.Sprintf("String should have at most %d characters", customers.MaxExternalID), name)
	case name == "client_id" && (len(text) != clientLength || !isNonce(text)):
		d.add("value_error", "Input should be the client_id of a token, 8 characters of base64url", name)
	case name == "client_id":
		d.entry.ID = text
	case name == "api_key":
		d.apiKey = text
	default:
		d.externalID = text
	}
}

// setReason keeps what is for the log. A key or a token in it is a mistake, and must
// not get there.
func (d *revokeDecoder) setReason(v ijson.Value) {
	text, ok := d.text(v, "reason")
	switch {
	case !ok:
	case utf8.RuneCountInString(text) > maxReason:
		d.add("string_too_long", fmt.Sprintf("String should have at most %d characters", maxReason), "reason")
	case strings.Contains(text, "csk_") || strings.Contains(text, "eyJ"):
		d.add("value_error", "The reason is logged; leave keys and tokens out", "reason")
	default:
		d.reason = text
	}
}
