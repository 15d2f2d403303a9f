package ijson_test

import (
	"testing"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// People mend files by what the error says.
func TestUnmarshalSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"trailing comma in a list", "{\"a\":[\n  1,\n  2,\n]}", "line 4, column 1: not valid JSON: there is a trailing comma before this bracket; remove it"},
		{"trailing comma in an object", "{\n  \"a\": 1,\n}", "line 3, column 1: not valid JSON: there is a trailing comma before this bracket; remove it"},
		{"no comma", "{\n  \"a\": 1\n  \"b\": 2\n}", "line 3, column 3: not valid JSON: a comma or the closing bracket is expected"},
		{"two commas", "{\"a\":[1,,2]}", "line 1, column 9: not valid JSON: a value is expected"},
		{"no value", "{\"a\":}", "line 1, column 6: not valid JSON: a value is expected"},
		{"no colon", "{\"a\" 1}", "line 1, column 6: not valid JSON: a colon is expected"},
		{"bare name", "{a:1}", "line 1, column 2: not valid JSON: a name in double quotes is expected"},
		{"half", "{\"a\":[1,", "line 1, column 9: not valid JSON: the text ends too early"},
		{"line break in a string", "{\"a\":\"b\nc\"}", "line 1, column 8: not valid JSON: raw control character in a string"},
		{"path of Windows", `{"a":"C:\dir"}`, "line 1, column 9: not valid JSON: unknown escape in a string"},
		{"half a number", "{\"a\":1.}", "line 1, column 8: not valid JSON: a digit is expected"},
		{"byte order mark", "\ufeff{}", "line 1, column 1: not a JSON object: it begins with a byte order mark (EF BB BF), which some editors write; save it as UTF-8 without one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var into struct {
				A any `json:"a"`
			}
			if err := ijson.Unmarshal([]byte(tc.text), &into); err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}
