package customers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
)

const minimal = `{
	"id": "11111111-1111-4111-8111-111111111111",
	"organization_id": "22222222-2222-4222-8222-222222222222",
	"created_at": "2026-01-02T03:04:05Z",
	"email": "ada@example.com"
}`

// with is the minimal customer with some members added or, if the text is
// empty, taken away.
func with(t testing.TB, changes map[string]string) string {
	t.Helper()
	object := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(minimal), &object); err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		if value == "" {
			delete(object, name)
			continue
		}
		object[name] = json.RawMessage(value)
	}
	var b strings.Builder
	for name, value := range object {
		fmt.Fprintf(&b, ",%q:%s", name, value)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestParseFillsIn(t *testing.T) {
	t.Parallel()
	c, err := customers.Parse([]byte(minimal), customers.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"11111111-1111-4111-8111-111111111111",` +
		`"organization_id":"22222222-2222-4222-8222-222222222222",` +
		`"created_at":"2026-01-02T03:04:05Z","modified_at":null,"metadata":{},` +
		`"external_id":null,"email":"ada@example.com","email_verified":false,` +
		`"type":"individual","name":null,"billing_name":null,"billing_address":null,` +
		`"tax_id":null,"locale":null,"default_payment_method_id":null,` +
		`"deleted_at":null,"first_user_event_at":null,` +
		`"avatar_url":"https://www.gravatar.com/avatar/` +
		`b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72?d=404"}`
	if got := string(c.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestParseNormalises gives one member and looks at the same member of the
// answer.
func TestParseNormalises(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, member, value, want string }{
		{"upper-case UUID", "id", `"AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE"`, `"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"`},
		{"UUID of version 7", "id", `"01890a5d-ac96-774b-bcce-b302099a8057"`, `"01890a5d-ac96-774b-bcce-b302099a8057"`},
		{"fraction of a second", "created_at", `"2026-01-02T03:04:05.999999Z"`, `"2026-01-02T03:04:05Z"`},
		{"other zone", "modified_at", `"2026-01-02T03:04:05+02:00"`, `"2026-01-02T01:04:05Z"`},
		{"no zone", "first_user_event_at", `"2026-01-02T03:04:05.5"`, `"2026-01-02T03:04:05Z"`},
		{"deleted", "deleted_at", `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05Z"`},
		{"null metadata", "metadata", `null`, `{}`},
		{"numbers as they are", "metadata", `{ "a" : 9007199254740993, "b": 1.50 , "c":-0.0,"d":1E2}`, `{"a":9007199254740993,"b":1.50,"c":-0.0,"d":1E2}`},
		{"flags and texts", "metadata", "{\"a\": true,\n\"b\":false, \"c\": \"x y\\n\", \"\": \"\"}", `{"a":true,"b":false,"c":"x y\n","":""}`},
		{"external ID", "external_id", `"user/1 é"`, `"user/1 é"`},
		{"empty external ID", "external_id", `""`, `null`},
		{"longest external ID", "external_id", `"` + strings.Repeat("é", 255) + `"`, `"` + strings.Repeat("é", 255) + `"`},
		{"surrogate pair", "name", `"\ud83d\ude00"`, `"😀"`},
		{"replacement character", "name", `"\ufffd"`, `"�"`},
		{"escaped backslash", "name", `"\\u0000 \\ud800"`, `"\\u0000 \\ud800"`},
		{"line separators", "name", `"a\u2028b"`, "\"a\u2028b\""},
		{"control characters", "name", `"a\tb\u001f\u007f\"\\\/"`, "\"a\\tb\\u001f\u007f\\\"\\\\/\""},
		{"verified", "email_verified", `true`, `true`},
		{"null verified", "email_verified", `null`, `false`},
		{"null type", "type", `null`, `"individual"`},
		{"team", "type", `"team"`, `"team"`},
		{"lower-case country", "billing_address", `{"country":"de","x":{}}`, `{"country":"DE","line1":null,"line2":null,"postal_code":null,"city":null,"state":null}`},
		{"whole address", "billing_address", `{"country":"US","line1":"1 Main St","line2":"b","postal_code":"1","city":"c","state":"US-NY"}`, `{"country":"US","line1":"1 Main St","line2":"b","postal_code":"1","city":"c","state":"US-NY"}`},
		{"tax ID", "tax_id", `[ "DE123456789" , "eu_vat" ]`, `["DE123456789","eu_vat"]`},
		{"payment method", "default_payment_method_id", `"33333333-3333-4333-8333-333333333333"`, `"33333333-3333-4333-8333-333333333333"`},
		{"avatar", "avatar_url", `"https://example.com/a.png?x=1&y=2"`, `"https://example.com/a.png?x=1&y=2"`},
		{"billing name", "billing_name", `"B"`, `"B"`},
		{"locale", "locale", `"en-GB"`, `"en-GB"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := with(t, map[string]string{test.member: test.value, "unknown": `{"a":[1,{"b":"]}"}]}`})
			c, err := customers.Parse([]byte(text), customers.Defaults{})
			if err != nil {
				t.Fatal(err)
			}
			members := map[string]json.RawMessage{}
			if err := json.Unmarshal(c.AppendJSON(nil), &members); err != nil {
				t.Fatal(err)
			}
			if got := string(members[test.member]); got != test.want {
				t.Errorf("%s of %s is %s, want %s", test.member, text, got, test.want)
			}
		})
	}
}

// TestParseAvatar compares with sums made by sha256sum.
func TestParseAvatar(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		changes map[string]string
		want    string
	}{
		{"of the e-mail in lower case", map[string]string{"email": `"Ada@Example.COM"`}, "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"},
		{"of the ID of a team", map[string]string{"type": `"team"`, "email": "null"}, "bd7662a5eeb41614e720d477abfcb2272e19a8a70a93b7e3bc8560d44ad326e9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := customers.Parse([]byte(with(t, test.changes)), customers.Defaults{})
			if err != nil {
				t.Fatal(err)
			}
			if want := "https://www.gravatar.com/avatar/" + test.want + "?d=404"; c.AvatarURL != want {
				t.Errorf("avatar is %s, want %s", c.AvatarURL, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const secret = "do-not-echo"
	tests := []struct{ name, member, value, loc, kind string }{
		{"no ID", "id", "", "[id]", "missing"},
		{"null ID", "id", "null", "[id]", "value_error"},
		{"ID without dashes", "id", `"11111111111141118111111111111111"`, "[id]", "uuid_parsing"},
		{"ID in braces", "id", `"{11111111-1111-4111-8111-111111111111}"`, "[id]", "uuid_parsing"},
		{"ID a number", "id", "7", "[id]", "string_type"},
		{"nil ID", "id", `"00000000-0000-0000-0000-000000000000"`, "[id]", "value_error"},
		{"no organization", "organization_id", "", "[organization_id]", "missing"},
		{"bad organization", "organization_id", `"` + secret + `"`, "[organization_id]", "uuid_parsing"},
		{"no creation time", "created_at", "", "[created_at]", "missing"},
		{"bad time", "created_at", `"` + secret + `"`, "[created_at]", "datetime_parsing"},
		{"infinite time", "created_at", `"-infinity"`, "[created_at]", "datetime_parsing"},
		{"day only", "created_at", `"2026-01-02"`, "[created_at]", "datetime_parsing"},
		{"seconds", "modified_at", "1767323045", "[modified_at]", "string_type"},
		{"year 10000", "modified_at", `"9999-12-31T23:59:59-01:00"`, "[modified_at]", "datetime_parsing"},
		{"year 0", "modified_at", `"0001-01-01T00:00:00+01:00"`, "[modified_at]", "datetime_parsing"},
		{"metadata a list", "metadata", `[]`, "[metadata]", "dict_type"},
		{"metadata a text", "metadata", `"` + secret + `"`, "[metadata]", "dict_type"},
		{"metadata nested", "metadata", `{"a":{"b":1}}`, "[metadata a]", "value_error"},
		{"metadata a list inside", "metadata", `{"a":[]}`, "[metadata a]", "value_error"},
		{"metadata null inside", "metadata", `{"a":null}`, "[metadata a]", "value_error"},
		{"metadata infinite", "metadata", `{"a":1e400}`, "[metadata a]", "value_error"},
		{"metadata twice", "metadata", `{"a":1,"\u0061":2}`, "[]", "json_invalid"},
		{"metadata NUL", "metadata", `{"a":"\u0000"}`, "[metadata a]", "value_error"},
		{"metadata NUL name", "metadata", `{"\u0000":1}`, "[metadata]", "value_error"},
		{"metadata lone surrogate", "metadata", `{"a":"\udc00"}`, "[]", "json_invalid"},
		{"external ID a number", "external_id", "7", "[external_id]", "string_type"},
		{"external ID of 256 characters", "external_id", `"` + strings.Repeat("é", 256) + `"`, "[external_id]", "string_too_long"},
		{"NUL", "external_id", `"` + secret + `\u0000"`, "[external_id]", "value_error"},
		{"lone surrogate", "external_id", `"\ud800x"`, "[]", "json_invalid"},
		{"two first halves", "external_id", `"\ud800\ud800"`, "[]", "json_invalid"},
		{"no e-mail", "email", "", "[email]", "missing"},
		{"null e-mail", "email", "null", "[email]", "value_error"},
		{"e-mail a list", "email", `["a@b"]`, "[email]", "string_type"},
		{"e-mail without @", "email", `"` + secret + `"`, "[email]", "value_error"},
		{"e-mail without domain", "email", `"` + secret + `@"`, "[email]", "value_error"},
		{"e-mail without name", "email", `"@example.com"`, "[email]", "value_error"},
		{"e-mail with a space", "email", `"a b@example.com"`, "[email]", "value_error"},
		{"e-mail with a line break", "email", `"a@example.com\nBcc: b"`, "[email]", "value_error"},
		{"e-mail too long", "email", `"` + strings.Repeat("a", 320) + `@b"`, "[email]", "value_error"},
		{"verified a text", "email_verified", `"true"`, "[email_verified]", "bool_type"},
		{"verified a number", "email_verified", `1`, "[email_verified]", "bool_type"},
		{"unknown type", "type", `"` + secret + `"`, "[type]", "enum"},
		{"type a number", "type", `1`, "[type]", "string_type"},
		{"name an object", "name", `{}`, "[name]", "string_type"},
		{"billing name a flag", "billing_name", `true`, "[billing_name]", "string_type"},
		{"locale a number", "locale", `1`, "[locale]", "string_type"},
		{"address a text", "billing_address", `"` + secret + `"`, "[billing_address]", "model_attributes_type"},
		{"address without country", "billing_address", `{}`, "[billing_address country]", "missing"},
		{"address with null country", "billing_address", `{"country":null}`, "[billing_address country]", "string_type"},
		{"country of three letters", "billing_address", `{"country":"DEU"}`, "[billing_address country]", "value_error"},
		{"country that grows in upper case", "billing_address", `{"country":"ß"}`, "[billing_address country]", "value_error"},
		{"city a number", "billing_address", `{"country":"DE","city":1}`, "[billing_address city]", "string_type"},
		{"city twice", "billing_address", `{"country":"DE","city":"a","city":"b"}`, "[]", "json_invalid"},
		{"tax ID a text", "tax_id", `"` + secret + `"`, "[tax_id]", "list_type"},
		{"tax ID of one", "tax_id", `["a"]`, "[tax_id]", "value_error"},
		{"tax ID of three", "tax_id", `["a","b","c"]`, "[tax_id]", "value_error"},
		{"tax ID of none", "tax_id", `[]`, "[tax_id]", "value_error"},
		{"tax ID of null", "tax_id", `["a",null]`, "[tax_id]", "value_error"},
		{"bad payment method", "default_payment_method_id", `"` + secret + `"`, "[default_payment_method_id]", "uuid_parsing"},
		{"avatar a script", "avatar_url", `"javascript:` + secret + `"`, "[avatar_url]", "url_scheme"},
		{"avatar not a URL", "avatar_url", `"http://[` + secret + `"`, "[avatar_url]", "url_parsing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := with(t, map[string]string{test.member: test.value})
			problems := problemsOf(t, text, customers.Defaults{})
			if len(problems) != 1 || fmt.Sprint(problems[0].Loc) != test.loc || problems[0].Type != test.kind {
				t.Errorf("got %+v, want one %s at %s", problems, test.kind, test.loc)
			}
			if strings.Contains(fmt.Sprint(problems), secret) {
				t.Errorf("%v repeats what was given", problems)
			}
		})
	}
}

func problemsOf(t *testing.T, text string, d customers.Defaults) []customers.Problem {
	t.Helper()
	c, err := customers.Parse([]byte(text), d)
	invalid, ok := errors.AsType[*customers.ValidationError](err)
	if !ok || c != nil {
		t.Fatalf("Parse(%q) = %v, %v, want a ValidationError", text, c, err)
	}
	return invalid.Problems
}

func TestParseRefusesText(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":0`, i)
		}
		return minimal[:len(minimal)-1] + b.String() + "}"
	}
	tests := []struct{ name, text, kind, msg string }{
		{"nothing", "", "json_invalid", "byte 1: not a JSON object"},
		{"half", `{"id":`, "json_invalid", "byte 7: not valid JSON"},
		{"two objects", minimal + minimal, "json_invalid", "data after the JSON object"},
		{"not UTF-8", strings.Replace(minimal, "ada", "\xff", 1), "json_invalid", "not valid UTF-8"},
		{"surrogate in UTF-8", strings.Replace(minimal, "ada", "\xed\xa0\x80", 1), "json_invalid", "not valid UTF-8"},
		{"raw NUL", strings.Replace(minimal, "ada", "\x00", 1), "json_invalid", "not valid JSON"},
		{"too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "json_invalid", "not a JSON object"},
		{"a list", `[]`, "model_attributes_type", "an object"},
		{"null", ` null `, "model_attributes_type", "an object"},
		{"a number", `7`, "model_attributes_type", "an object"},
		{"a member twice", strings.Replace(minimal, "{", `{"email":"b@example.com",`, 1), "json_invalid", "(byte 174: member name used twice"},
		{"an unknown member twice", strings.Replace(minimal, "{", `{"x":{"y":1,"y":2},`, 1), "json_invalid", "member name used twice"},
		{"half a surrogate pair", strings.Replace(minimal, "{", `{"x":"\ud800",`, 1), "json_invalid", "lone surrogate"},
		{"17 levels", strings.Replace(minimal, "{", `{"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,`, 1), "json_invalid", "nested too deeply"},
		{"4097 members", many(4093), "json_invalid", "too many members"},
		{"a member twice, once escaped", strings.Replace(minimal, "{", `{"\u0065mail":"b@example.com",`, 1), "json_invalid", "member name used twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			problems := problemsOf(t, test.text, customers.Defaults{})
			if len(problems) != 1 || problems[0].Type != test.kind || !strings.Contains(problems[0].Msg, test.msg) {
				t.Errorf("got %+v, want one %s about %s", problems, test.kind, test.msg)
			}
		})
	}
}

// TestParseIgnores shows what a customer may carry beside its own members.
func TestParseIgnores(t *testing.T) {
	t.Parallel()
	var wide strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&wide, `,"m%d":[]`, i)
	}
	for name, value := range map[string]string{
		"16 levels":    strings.Repeat("[", 15) + strings.Repeat("]", 15),
		"4000 members": "{" + wide.String()[1:] + "}",
		"other case":   `{"ID":1,"id":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := with(t, map[string]string{"unknown": value})
			if _, err := customers.Parse([]byte(text), customers.Defaults{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseTellsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	problems := problemsOf(t, `{"email":1,"type":"x","billing_address":{"city":1},"metadata":{"who":null}}`,
		customers.Defaults{})
	got := (&customers.ValidationError{Problems: problems}).Error()
	const want = "email: Input should be a valid string; " +
		"type: Input should be 'individual' or 'team'; " +
		"billing_address.city: Input should be a valid string; " +
		"billing_address.country: Field required; " +
		"metadata: Input should be a string, a number or a boolean; " +
		"id: Field required; organization_id: Field required; created_at: Field required"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseDefaults(t *testing.T) {
	t.Parallel()
	d := customers.Defaults{
		ID:             uuid.MustParse("44444444-4444-4444-8444-444444444444"),
		OrganizationID: uuid.MustParse("55555555-5555-4555-8555-555555555555"),
		CreatedAt:      time.Date(2026, 5, 6, 7, 8, 9, 10, time.FixedZone("", 3600)),
	}
	for _, text := range []string{
		`{"email":"a@b"}`,
		`{"email":"a@b","id":null,"organization_id":null,"created_at":null}`,
	} {
		c, err := customers.Parse([]byte(text), d)
		if err != nil {
			t.Fatal(err)
		}
		created := c.CreatedAt.Format(time.RFC3339Nano)
		if c.ID != d.ID || c.OrganizationID != d.OrganizationID || created != "2026-05-06T06:08:09Z" {
			t.Errorf("Parse(%s) = %s, want the defaults", text, c.AppendJSON(nil))
		}
	}
	c, err := customers.Parse([]byte(minimal), d)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID == d.ID || c.OrganizationID == d.OrganizationID || c.CreatedAt.Month() != time.January {
		t.Errorf("Parse = %s, want what was given", c.AppendJSON(nil))
	}
}

// FuzzParse: whatever is accepted can be written and read again, also by way of a
// file, and is then the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(`{"id":"A","metadata":{"a":1e400,"\ud800":[]},"tax_id":["a","\u0000"]}`))
	f.Add([]byte(with(f, map[string]string{
		"metadata": `{"a":1.0,"b":"\u2028","c":true}`, "billing_address": `{"country":"de","city":"x\\"}`,
		"tax_id": `["a","b"]`, "type": `"team"`, "avatar_url": `"http://a"`,
		"modified_at": `"2026-01-02T03:04:05.5-03:00"`, "external_id": `"\ud83d\ude00"`,
	})))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := customers.Parse(data, customers.Defaults{})
		if err != nil {
			if _, ok := errors.AsType[*customers.ValidationError](err); !ok {
				t.Fatalf("error %v is no ValidationError", err)
			}
			return
		}
		first := c.AppendJSON(nil)
		again, err := customers.Parse(first, customers.Defaults{})
		if err != nil {
			t.Fatalf("%s was accepted as %s, which is not: %v", data, first, err)
		}
		if second := again.AppendJSON(nil); string(second) != string(first) {
			t.Fatalf("%s becomes %s, and that becomes %s", data, first, second)
		}
		if len(first) > 64<<10 || c.DeletedAt != nil {
			return // no file would hold it, or none would show it
		}
		query := customers.Query{OrganizationID: c.OrganizationID, ID: c.ID}
		found := find(t.Context(), t, load(t, bytes.NewReader(first)), query)
		if kept := found.AppendJSON(nil); string(kept) != string(first) {
			t.Fatalf("%s is kept in a file as %s", first, kept)
		}
	})
}
