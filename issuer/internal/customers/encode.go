package customers

import (
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// AppendJSON appends c as a JSON object to dst and returns the longer slice. It
// writes the same as encoding/json in a fifth of the time: every answer to a
// create request has a customer in it.
func (c *Customer) AppendJSON(dst []byte) []byte {
	dst = appendUUID(append(dst, `{"id":`...), &c.ID)
	dst = appendUUID(append(dst, `,"organization_id":`...), &c.OrganizationID)
	dst = appendTime(append(dst, `,"created_at":`...), &c.CreatedAt)
	dst = appendTime(append(dst, `,"modified_at":`...), c.ModifiedAt)
	dst = append(dst, `,"metadata":`...)
	if len(c.Metadata) == 0 {
		dst = append(dst, "{}"...)
	} else {
		dst = append(dst, c.Metadata...)
	}
	dst = appendText(append(dst, `,"external_id":`...), c.ExternalID)
	dst = appendText(append(dst, `,"email":`...), c.Email)
	if c.EmailVerified {
		dst = append(dst, `,"email_verified":true`...)
	} else {
		dst = append(dst, `,"email_verified":false`...)
	}
	dst = ijson.AppendString(append(dst, `,"type":`...), string(c.Type))
	dst = appendText(append(dst, `,"name":`...), c.Name)
	dst = appendText(append(dst, `,"billing_name":`...), c.BillingName)
	dst = c.BillingAddress.appendJSON(append(dst, `,"billing_address":`...))
	dst = appendTexts(append(dst, `,"tax_id":`...), c.TaxID)
	dst = appendText(append(dst, `,"locale":`...), c.Locale)
	dst = append(dst, `,"default_payment_method_id":`...)
	dst = appendUUID(dst, c.DefaultPaymentMethodID)
	dst = appendTime(append(dst, `,"deleted_at":`...), c.DeletedAt)
	dst = append(dst, `,"first_user_event_at":`...)
	dst = appendTime(dst, c.FirstUserEventAt)
	dst = ijson.AppendString(append(dst, `,"avatar_url":`...), c.AvatarURL)
	return append(dst, '}')
}

func (a *Address) appendJSON(dst []byte) []byte {
	if a == nil {
		return append(dst, "null"...)
	}
	dst = ijson.AppendString(append(dst, `{"country":`...), a.Country)
	dst = appendText(append(dst, `,"line1":`...), a.Line1)
	dst = appendText(append(dst, `,"line2":`...), a.Line2)
	dst = appendText(append(dst, `,"postal_code":`...), a.PostalCode)
	dst = appendText(append(dst, `,"city":`...), a.City)
	dst = appendText(append(dst, `,"state":`...), a.State)
	return append(dst, '}')
}

func appendUUID(dst []byte, id *uuid.UUID) []byte {
	if id == nil {
		return append(dst, "null"...)
	}
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[b>>4], digits[b&0xF])
	}
	return append(dst, '"')
}

func appendTime(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	dst = t.AppendFormat(append(dst, '"'), time.RFC3339Nano)
	return append(dst, '"')
}

func appendText(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return ijson.AppendString(dst, *s)
}

func appendTexts(dst []byte, list []string) []byte {
	if list == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = ijson.AppendString(dst, s)
	}
	return append(dst, ']')
}
