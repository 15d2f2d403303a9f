package customers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Each method of this file reads one kind of value. If the value is of another
// kind, it notes a problem at loc and returns nothing.

// text reads a string.
func (r *reader) text(v ijson.Value, loc ...string) *string {
	text, ok := r.str(v, loc...)
	if !ok {
		return nil
	}
	s := string(text)
	return &s
}

// externalID reads an external ID, which may be empty.
func (r *reader) externalID(v ijson.Value) *string {
	id := r.text(v, "external_id")
	if id != nil && utf8.RuneCountInString(*id) > MaxExternalID {
		r.fail("string_too_long", fmt.Sprintf("String should have at most %d characters", MaxExternalID), "external_id")
	}
	return id
}

// str reads a string, which may share memory with v.
func (r *reader) str(v ijson.Value, loc ...string) ([]byte, bool) {
	text, ok := v.Text()
	if !ok {
		r.fail("string_type", "Input should be a valid string", loc...)
		return nil, false
	}
	if hasNUL(text) {
		r.fail("value_error", "Input should not have a NUL", loc...)
		return nil, false
	}
	return text, true
}

// hasNUL reports whether text has a NUL, which databases and C libraries cannot
// hold.
func hasNUL(text []byte) bool { return bytes.IndexByte(text, 0) >= 0 }

// flag reads a boolean.
func (r *reader) flag(v ijson.Value, loc ...string) bool {
	if v.Kind() != ijson.Bool {
		r.fail("bool_type", "Input should be a valid boolean", loc...)
	}
	return v[0] == 't'
}

// id reads a UUID into dst.
func (r *reader) id(dst *uuid.UUID, v ijson.Value, loc ...string) {
	text, ok := r.str(v, loc...)
	if !ok {
		return
	}
	// uuid.ParseBytes also accepts braces, a URN and bare digits; RFC 9562,
	// Section 4 has only one text form.
	id, err := uuid.ParseBytes(text)
	switch {
	case err != nil || len(text) != 36:
		r.fail("uuid_parsing", "Input should be a valid UUID of 36 characters", loc...)
	case id == uuid.Nil:
		r.fail("value_error", "Input should not be the nil UUID", loc...)
	default:
		*dst = id
	}
}

// optionalID reads a UUID.
func (r *reader) optionalID(v ijson.Value, loc ...string) *uuid.UUID {
	var id uuid.UUID
	r.id(&id, v, loc...)
	return &id
}

// time reads an RFC 3339 time into dst. A time without a zone, as databases write
// a "timestamp", is in UTC.
func (r *reader) time(dst *time.Time, v ijson.Value, loc ...string) {
	text, ok := r.str(v, loc...)
	if !ok {
		return
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", string(text))
	}
	t = wholeSeconds(t)
	if err != nil || t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		r.fail("datetime_parsing", "Input should be a time as in RFC 3339", loc...)
		return
	}
	*dst = t
}

// optionalTime reads an RFC 3339 time.
func (r *reader) optionalTime(v ijson.Value, loc ...string) *time.Time {
	var t time.Time
	r.time(&t, v, loc...)
	return &t
}

func wholeSeconds(t time.Time) time.Time {
	return t.UTC().Truncate(time.Second)
}

// kind reads the type of a customer.
func (r *reader) kind(v ijson.Value) Type {
	text, ok := r.str(v, "type")
	switch string(text) {
	case string(Individual):
		return Individual
	case string(Team):
		return Team
	default:
		if ok {
			r.fail("enum", "Input should be 'individual' or 'team'", "type")
		}
		return Individual
	}
}

// email reads an e-mail address. The check finds values that cannot be one; it
// does not prove that mail arrives.
func (r *reader) email(v ijson.Value) *string {
	email := r.text(v, "email")
	if email == nil {
		return nil
	}
	local, domain, _ := strings.Cut(*email, "@")
	odd := strings.ContainsFunc(*email, func(c rune) bool { return c <= ' ' || c == 0x7F })
	if local == "" || domain == "" || odd || strings.Contains(domain, "@") || len(*email) > 320 {
		r.fail("value_error", "Input should be an e-mail address", "email")
		return nil
	}
	return email
}

// pictureURL reads a URL, which may be empty.
func (r *reader) pictureURL(v ijson.Value) string {
	s := r.text(v, "avatar_url")
	if s == nil || *s == "" {
		return ""
	}
	u, err := url.Parse(*s)
	switch {
	case err != nil:
		r.fail("url_parsing", "Input should be a valid URL", "avatar_url")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		r.fail("url_scheme", "Input should be a URL that begins with http:// or https://", "avatar_url")
	}
	return *s
}

// address reads a postal address.
func (r *reader) address(v ijson.Value) *Address {
	const name = "billing_address"
	if v.Kind() != ijson.Object {
		r.fail("model_attributes_type", "Input should be an object", name)
		return nil
	}
	a, hasCountry := &Address{}, false
	walk(v, func(part []byte, v ijson.Value) {
		if string(part) == "country" {
			a.Country, hasCountry = r.country(v), true
		} else if line := a.line(part); line != nil && v.Kind() != ijson.Null {
			*line = r.text(v, name, string(part))
		} else if line == nil {
			r.unknown(part, knownAddressMembers(), name)
		}
	})
	if !hasCountry {
		r.fail("missing", "Field required", name, "country")
	}
	return a
}

// line returns the field for the optional member of that name, nil if there is
// none.
func (a *Address) line(name []byte) **string {
	switch string(name) {
	case "line1":
		return &a.Line1
	case "line2":
		return &a.Line2
	case "postal_code":
		return &a.PostalCode
	case "city":
		return &a.City
	case "state":
		return &a.State
	default:
		return nil
	}
}

// country reads a country code and returns it in upper case.
func (r *reader) country(v ijson.Value) string {
	text, ok := r.str(v, "billing_address", "country")
	if !ok {
		return ""
	}
	s := strings.ToUpper(string(text))
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		r.fail("value_error", "Input should be a country code of two letters, as in ISO 3166-1",
			"billing_address", "country")
	}
	return s
}

// taxID reads a list of two strings.
func (r *reader) taxID(v ijson.Value) []string {
	const name = "tax_id"
	if v.Kind() != ijson.Array {
		r.fail("list_type", "Input should be a list of two strings", name)
		return nil
	}
	list := make([]string, 0, 2)
	ok := v.Elements(func(element ijson.Value) bool {
		text, ok := element.Text()
		if !ok || hasNUL(text) || len(list) == 2 {
			return false
		}
		list = append(list, string(text))
		return true
	})
	if !ok || len(list) != 2 {
		r.fail("value_error", "Input should be a list of two strings", name)
	}
	return list
}

// metadata reads a flat object and returns it without white space.
func (r *reader) metadata(v ijson.Value) json.RawMessage {
	const name = "metadata"
	if v.Kind() != ijson.Object {
		r.fail("dict_type", "Input should be an object", name)
		return nil
	}
	flat := append(make([]byte, 0, len(v)), '{')
	walk(v, func(key []byte, v ijson.Value) {
		if hasNUL(key) {
			r.fail("value_error", "Names should not have a NUL", name)
			return
		}
		if problem := metadatumProblem(v); problem != "" {
			r.fail("value_error", problem, name, string(key))
			return
		}
		if len(flat) > 1 {
			flat = append(flat, ',')
		}
		flat = append(ijson.AppendString(flat, string(key)), ':')
		flat = append(flat, v...)
	})
	return append(flat, '}')
}

// metadatumProblem returns what is wrong with one value of the metadata, or an
// empty string.
func metadatumProblem(v ijson.Value) string {
	switch v.Kind() {
	case ijson.String:
		if text, _ := v.Text(); hasNUL(text) {
			return "Input should not have a NUL"
		}
	case ijson.Number:
		// Clients read numbers as IEEE 754 doubles and would make one that
		// does not fit infinite (RFC 8259, Section 6).
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			return "Number is out of range"
		}
	case ijson.Null, ijson.Array, ijson.Object:
		return "Input should be a string, a number or a boolean"
	case ijson.Bool:
	}
	return ""
}

// walk calls visit with each member of an object.
func walk(object ijson.Value, visit func(name []byte, v ijson.Value)) {
	// There is no error: the text around it has been checked.
	_, _ = ijson.Members(object, limits(), func(name []byte, v ijson.Value) error {
		visit(name, v)
		return nil
	})
}
