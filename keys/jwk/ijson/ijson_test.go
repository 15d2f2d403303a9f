package ijson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

func ignore([]byte, ijson.Value) error { return nil }

func TestMembersRefuses(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"m` + strings.Repeat("x", i) + `":0`)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, tc := range []struct {
		name, text string
		want       error
		offset     int
	}{
		{"empty", ``, ijson.ErrNotObject, 0},
		{"byte order mark", "\ufeff{}", ijson.ErrNotObject, 0},
		{"array at the top", `[]`, ijson.ErrNotObject, 0},
		{"string at the top", `"a"`, ijson.ErrNotObject, 0},
		{"trailing object", `{} {}`, ijson.ErrTrailing, 3},
		{"trailing comma", `{"a":1,}`, ijson.ErrSyntax, 7},
		{"trailing comma in an array", `{"a":[1,]}`, ijson.ErrSyntax, 8},
		{"missing colon", `{"a" 1}`, ijson.ErrSyntax, 5},
		{"missing comma", `{"a":1 "b":2}`, ijson.ErrSyntax, 7},
		{"unquoted name", `{a:1}`, ijson.ErrSyntax, 1},
		{"single quotes", `{'a':1}`, ijson.ErrSyntax, 1},
		{"unfinished object", `{"a":1`, ijson.ErrSyntax, 6},
		{"unfinished string", `{"a":"b`, ijson.ErrSyntax, 7},
		{"unfinished escape", `{"a":"\`, ijson.ErrSyntax, 6},
		{"short unicode escape", `{"a":"\u12"}`, ijson.ErrSyntax, 6},
		{"unknown escape", `{"a":"\x41"}`, ijson.ErrSyntax, 6},
		{"control character", "{\"a\":\"\n\"}", ijson.ErrSyntax, 6},
		{"NUL between tokens", "{\x00}", ijson.ErrSyntax, 1},
		{"comment", `{/**/}`, ijson.ErrSyntax, 1},
		{"leading zero", `{"a":01}`, ijson.ErrSyntax, 6},
		{"plus sign", `{"a":+1}`, ijson.ErrSyntax, 5},
		{"bare minus", `{"a":-}`, ijson.ErrSyntax, 6},
		{"bare point", `{"a":1.}`, ijson.ErrSyntax, 7},
		{"bare exponent", `{"a":1e}`, ijson.ErrSyntax, 7},
		{"hexadecimal", `{"a":0x10}`, ijson.ErrSyntax, 6},
		{"NaN", `{"a":NaN}`, ijson.ErrSyntax, 5},
		{"cut literal", `{"a":tru}`, ijson.ErrSyntax, 5},
		{"invalid UTF-8 in a value", "{\"a\":\"\xff\"}", ijson.ErrUTF8, 6},
		{"invalid UTF-8 in a name", "{\"\xc0\x80\":1}", ijson.ErrUTF8, 2},
		{"surrogate encoded in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", ijson.ErrUTF8, 6},
		{"lone high surrogate", `{"a":"\ud800"}`, ijson.ErrSurrogate, 6},
		{"lone low surrogate", `{"a":"\udc00"}`, ijson.ErrSurrogate, 6},
		{"two high surrogates", `{"a":"\ud800\ud800"}`, ijson.ErrSurrogate, 6},
		{"duplicate", `{"a":1,"a":2}`, ijson.ErrDuplicate, 7},
		{"duplicate after unescaping", `{"a":1,"\u0061":2}`, ijson.ErrDuplicate, 7},
		{"duplicate further in", `{"a":[{"b":1,"c":2,"b":3}]}`, ijson.ErrDuplicate, 19},
		{"duplicate after an inner object", `{"a":{"b":1},"a":2}`, ijson.ErrDuplicate, 13},
		{"nine levels", `{"a":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`, ijson.ErrDepth, 12},
		{"65 members", many(65), ijson.ErrMembers, 2401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			offset, err := ijson.Members([]byte(tc.text), ijson.Limits{}, ignore)
			if !errors.Is(err, tc.want) || offset != tc.offset {
				t.Errorf("got %v at %d, want %v at %d", err, offset, tc.want, tc.offset)
			}
		})
	}
}

func TestMembersAccepts(t *testing.T) {
	t.Parallel()
	text := " {\"a\" : \"\\u00e9\\ud83d\\ude00\\n\\/\", \"b\":[1, -2.5e+3,{\"a\":null}],\r\n\t" +
		"\"\\u0063\":true,\"\":{}, \"s\":\"ſ\u0000\"} \n"
	text = strings.ReplaceAll(text, "\u0000", `\u0000`)
	var got []string
	_, err := ijson.Members([]byte(text), ijson.Limits{}, func(name []byte, v ijson.Value) error {
		got = append(got, string(name)+"="+string(v))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`a="\u00e9\ud83d\ude00\n\/"`, `b=[1, -2.5e+3,{"a":null}]`, `c=true`, `={}`, `s="ſ\u0000"`,
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMembersBeyondTheDefaultLimit(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"in":{`)
	for i := range 100 {
		fmt.Fprintf(&b, `"a%d":0,`, i)
	}
	b.WriteString(`"\u0062":0},`)
	for i := range 100 {
		fmt.Fprintf(&b, `"a%d":0,`, i)
	}
	limits := ijson.Limits{Members: 210}
	if _, err := ijson.Members([]byte(b.String()+`"b":0}`), limits, ignore); err != nil {
		t.Errorf("203 members: %v", err)
	}
	for _, name := range []string{"in", "a3", "a99", `\u00619`} {
		_, err := ijson.Members([]byte(b.String()+`"`+name+`":0}`), limits, ignore)
		if !errors.Is(err, ijson.ErrDuplicate) {
			t.Errorf("%s twice: got %v, want %v", name, err, ijson.ErrDuplicate)
		}
	}
}

// TestMembersComparesNames: names that differ in any byte are different.
func TestMembersComparesNames(t *testing.T) {
	t.Parallel()
	names := []string{""}
	for _, length := range []int{1, 2, 3, 9} {
		for i := range 90 {
			names = append(names, fmt.Sprintf("%0*d", length, i)[:length])
		}
	}
	for _, a := range names {
		for _, b := range names {
			text := fmt.Sprintf(`{"x":{%q:1},%q:2,%q:3}`, b, a, b)
			_, err := ijson.Members([]byte(text), ijson.Limits{}, ignore)
			if got := errors.Is(err, ijson.ErrDuplicate); got != (a == b) || !got && err != nil {
				t.Errorf("%s: got %v", text, err)
			}
		}
	}
}

func TestMembersReturnsTheErrorOfVisit(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	offset, err := ijson.Members([]byte(`{"a":1,"b":2}`), ijson.Limits{}, func([]byte, ijson.Value) error { return stop })
	if !errors.Is(err, stop) || offset != 6 {
		t.Errorf("got %v at %d, want %v at 6", err, offset, stop)
	}
}

func TestMembersAllocatesNothing(t *testing.T) {
	text := []byte(`{"iss":"https://a.example","aud":["a","b"],"exp":1700000000,"x":{"y":[1,2,3]}}`)
	bad := []byte(`{"a":{"b":1,"b":2}}`)
	count := 0
	visit := func(name []byte, v ijson.Value) error {
		if _, ok := v.Text(); ok {
			count++
		}
		return nil
	}
	if n := testing.AllocsPerRun(100, func() {
		_, err := ijson.Members(text, ijson.Limits{}, visit)
		_, bad := ijson.Members(bad, ijson.Limits{}, visit)
		if err != nil || bad == nil {
			t.Errorf("got %v and %v, want no error and one", err, bad)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		kind ijson.Kind
		n    int64
		isN  bool
	}{
		{`0`, ijson.Number, 0, true},
		{`-7`, ijson.Number, -7, true},
		{`9223372036854775807`, ijson.Number, math.MaxInt64, true},
		{`9223372036854775808`, ijson.Number, 0, false},
		{`1.0`, ijson.Number, 0, false},
		{`1e3`, ijson.Number, 0, false},
		{`"1"`, ijson.String, 0, false},
		{`true`, ijson.Bool, 0, false},
		{`null`, ijson.Null, 0, false},
		{`[]`, ijson.Array, 0, false},
		{`{}`, ijson.Object, 0, false},
	} {
		v := ijson.Value(tc.text)
		n, ok := v.Int()
		if v.Kind() != tc.kind || ok != tc.isN || ok && n != tc.n {
			t.Errorf("%s: got kind %d, %d, %t", tc.text, v.Kind(), n, ok)
		}
	}
}

func TestValueElements(t *testing.T) {
	t.Parallel()
	var got []string
	ok := ijson.Value(`[ "a" , [1,2], {"b":[ ]} ]`).Elements(func(v ijson.Value) bool {
		got = append(got, string(v))
		return true
	})
	if want := `"a"|[1,2]|{"b":[ ]}`; !ok || strings.Join(got, "|") != want {
		t.Errorf("got %q, %t, want %q", got, ok, want)
	}
	if ijson.Value(`"a"`).Elements(nil) {
		t.Error("a string has elements")
	}
	if !ijson.Value(`[]`).Elements(nil) {
		t.Error("an empty array was refused")
	}
	if ijson.Value(`[1,2]`).Elements(func(ijson.Value) bool { return false }) {
		t.Error("a visit that stops was not reported")
	}
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	type file struct {
		Version int `json:"version"`
		Inner   struct {
			Name string `json:"name"`
		} `json:"inner"`
	}
	for _, tc := range []struct {
		name, text, want string
	}{
		{"good", `{"version":1,"inner":{"name":"a"}}`, ""},
		{"duplicate", "{\"version\":1,\n \"version\":2}", "line 2, column 2: member name used twice"},
		{"unknown member", `{"inner":{"nmae":"a"}}`, `unknown field "nmae"`},
		{"upper case", `{"Version":1}`, "line 1, column 2: member name is not lower-case"},
		{"folding", `{"verſion":1}`, "member name is not lower-case"},
		{"wrong type", `{"version":"1"}`, "version"},
		{"trailing", "{}\n{}", "line 2, column 1: data after"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var f file
			err := ijson.Unmarshal([]byte(tc.text), &f)
			if tc.want == "" {
				if err != nil || f.Version != 1 || f.Inner.Name != "a" {
					t.Errorf("got %+v, %v", f, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "plain", "é😀", `"\/`, "\x00\x1f\n\r\t\b", "a\xffb", "\xe2\x82", "</script>\u2028",
	} {
		got := ijson.AppendString(nil, text)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != string([]rune(text)) {
			t.Errorf("%q: got %s, read back as %q, %v", text, got, back, err)
		}
	}
}

// FuzzMembers holds the one promise everything else rests on: what is accepted
// here, encoding/json accepts too and reads the same way.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":{"b":[null,true,-1.5e3,"\u00e9\ud83d\ude00"]}}`,
		`{"a":1,"\u0061":2}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, ` { } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		texts := map[string]string{}
		_, err := ijson.Members(data, ijson.Limits{}, func(name []byte, v ijson.Value) error {
			if !json.Valid(v) {
				t.Errorf("value %q is not JSON", v)
			}
			if text, ok := v.Text(); ok {
				texts[string(name)] = string(text)
			}
			v.Elements(func(e ijson.Value) bool { return json.Valid(e) })
			return nil
		})
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", data, err)
		}
		for name, text := range texts {
			if want[name] != text {
				t.Errorf("member %q: got %q, encoding/json reads %q", name, text, want[name])
			}
		}
	})
}
