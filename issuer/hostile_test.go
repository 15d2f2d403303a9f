package issuer_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// marker is in everything hostile, and in no log.
const marker = "m4rk3r"

// checkUnhurt fails unless the server, after an attack, serves others as
// before, blames itself for nothing, and has logged nothing of what it was
// sent. The server ends with it.
func (f *fixture) checkUnhurt(t *testing.T) {
	t.Helper()
	f.createAny(t)
	f.shutdown()
	if strings.Contains(f.logs.String(), marker) {
		t.Error("the log holds what was sent")
	}
	for _, line := range f.logLines(t) {
		if line["level"] == "ERROR" {
			t.Errorf("the log has the error %v", line)
		}
	}
}

func TestHostileBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := `"customer_id":"` + customerID + `"`
	const json, object = "json_invalid", "model_attributes_type"
	t.Run("attack", func(t *testing.T) {
		for _, test := range []struct{ name, body, kind string }{
			{"empty", ``, json},
			{"white space", " \r\n\t", json},
			{"text", marker, json},
			{"null", `null`, object},
			{"list", `[{` + id + `,"a":"` + marker + `"}]`, object},
			{"string", `"` + marker + `"`, object},
			{"number", `3`, object},
			{"boolean", `true`, object},
			{"number out of range", `1e999999`, object},
			{"cut off", `{` + id + `,"return_url":"https://` + marker, json},
			{"cut off in an escape", `{"` + marker + `\u00`, json},
			{"trailing text", `{` + id + `} ` + marker, json},
			{"two objects", `{` + id + `}{` + id + `}`, json},
			{"trailing comma", `{` + id + `,}`, json},
			{"comment", `{` + id + `/*` + marker + `*/}`, json},
			{"single quotes", `{'` + marker + `':1}`, json},
			{"not a number", `{` + id + `,"expires_in":NaN}`, json},
			{"leading zero", `{` + id + `,"expires_in":0600}`, json},
			{"deep list", strings.Repeat("[", 60_000), json},
			{"deep list that ends", strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000), json},
			{"deep object", strings.Repeat(`{"`+marker+`":`, 6_000), json},
			{"deep member", `{` + id + `,"` + marker + `":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`, json},
			{"many members", `{` + id + strings.Repeat(`,"`+marker+`":0`, 4_000) + `}`, json},
			{"same name twice", `{` + id + `,"customer_id":"` + otherCustomerID + `"}`, json},
			{"same name twice, escaped", `{` + id + `,"customer_\u0069d":"` + otherCustomerID + `"}`, json},
			{"same name twice, null first", `{"customer_id":null,` + id + `}`, json},
			{"same unknown name twice", `{` + id + `,"` + marker + `":1,"` + marker + `":2}`, json},
			{"same name twice further in", `{` + id + `,"a":[{"` + marker + `":1,"` + marker + `":2}]}`, json},
			{"NUL in a string", `{` + id + `,"a":"` + marker + "\x00" + `"}`, json},
			{"NUL between members", `{` + id + ",\x00" + `"a":1}`, json},
			{"NUL at the end", `{` + id + "}\x00", json},
			{"line feed in a string", `{` + id + `,"a":"` + marker + "\n" + `"}`, json},
			{"not UTF-8", `{` + id + `,"a":"` + marker + "\xff" + `"}`, json},
			{"not UTF-8 in a name", `{` + id + `,"` + marker + "\xc3(" + `":1}`, json},
			{"overlong UTF-8", `{` + id + `,"a":"` + "\xc0\xaf" + `"}`, json},
			{"surrogate in UTF-8", `{` + id + `,"a":"` + "\xed\xa0\x80" + `"}`, json},
			{"lone surrogate", `{` + id + `,"a":"\ud800` + marker + `"}`, json},
			{"lone surrogate as the ID", `{"external_customer_id":"\udfff"}`, json},
			{"byte order mark", "\ufeff{" + id + `}`, json},
			{"UTF-16", inUTF16(`{` + id + `}`), json},
			{"gzip", "\x1f\x8b\x08\x00" + marker, json},
			{"lifetime out of range", `{` + id + `,"expires_in":1e999999}`, "value_error"},
			{"lifetime of 400 digits", `{` + id + `,"expires_in":` + strings.Repeat("9", 400) + `}`, "value_error"},
			{"lifetime of 400 decimals", `{` + id + `,"expires_in":60.` + strings.Repeat("0", 400) + `1}`, "value_error"},
			{"ID of 400 digits", `{"customer_id":` + strings.Repeat("9", 400) + `}`, "string_type"},
			{"ID of 60 KiB", `{"customer_id":"` + strings.Repeat(marker, 10_000) + `"}`, "uuid_parsing"},
			{"SQL", `{"customer_id":"' OR 1=1 -- ` + marker + `"}`, "uuid_parsing"},
			{"SQL as the external ID", `{"external_customer_id":"' OR 1=1 -- ` + marker + `"}`, "value_error"},
			{"line for the log", `{"external_customer_id":"\r\n{\"level\":\"ERROR\",\"msg\":\"` + marker + `\"}"}`, "value_error"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				a := f.post(t, f.secret, test.body)
				if a.status != http.StatusUnprocessableEntity {
					t.Fatalf("got %d %s, want 422", a.status, a.body)
				}
				_, list, _ := strings.Cut(problems(t, a), ": ")
				if kind, _, _ := strings.Cut(list, " "); kind != test.kind {
					t.Errorf("the problem is %s, want %s", list, test.kind)
				}
				f.createAny(t)
			})
		}
	})
	f.checkUnhurt(t)
}

func inUTF16(text string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b.Write([]byte{byte(unit >> 8), byte(unit)})
	}
	return b.String()
}

// What is odd but within the rules is no attack.
func TestOddBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, member := range map[string]string{
		"number out of range":  `1e999999`,
		"number of 400 digits": strings.Repeat("9", 400),
		"surrogate pair":       `"\ud83d\ude00"`,
		"depth":                strings.Repeat("[", 10) + strings.Repeat("]", 10),
		"long string":          `"` + strings.Repeat("x", 60_000) + `"`,
		"escaped NUL":          `"\u0000"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Libraries read numbers as they can, so this is not held against
			// the document.
			a := roundTrip(t, f.request(t, http.MethodPost, createPath, `{"`+marker+`":`+member+`,"customer_id":"`+customerID+`"}`,
				"Authorization", "Bearer "+f.secret))
			if a.status != http.StatusCreated {
				t.Errorf("got %d %s, want 201", a.status, a.body)
			}
		})
	}
}

func TestBodySize(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const most = 64 << 10
	body := `{"customer_id":"` + customerID + `"}`
	t.Run("attack", func(t *testing.T) {
		for _, test := range []struct {
			name    string
			size    int
			chunked bool
			status  int
		}{
			{"most", most, false, 201},
			{"most, chunked", most, true, 201},
			{"short, chunked", len(body), true, 201},
			{"a byte more", most + 1, false, 413},
			{"a byte more, chunked", most + 1, true, 413},
			{"far more", 4 << 20, false, 413},
			{"far more, chunked", 4 << 20, true, 413},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				padded := body + strings.Repeat(" ", test.size-len(body))
				request := f.request(t, http.MethodPost, createPath, padded, "Authorization", "Bearer "+f.secret, "Content-Type", "application/json")
				if test.chunked {
					request.ContentLength = -1
				}
				a := exchange(t, request)
				if a.status != test.status {
					t.Fatalf("got %d %s, want %d", a.status, a.body, test.status)
				}
				if test.status == http.StatusRequestEntityTooLarge {
					checkRefusal(t, a, test.status, `{"error":"PayloadTooLarge","detail":"The body may have 64 KiB"}`, "")
				}
				f.createAny(t)
			})
		}
		t.Run("100 thousand lists", func(t *testing.T) {
			t.Parallel()
			if a := f.post(t, f.secret, strings.Repeat("[", 100_000)); a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("got %d %s, want 413", a.status, a.body)
			}
		})
	})
	f.checkUnhurt(t)
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.readTimeout = 500 * time.Millisecond })
	head := "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + f.secret + "\r\nContent-Type: application/json\r\n"
	t.Run("attack", func(t *testing.T) {
		for name, request := range map[string]string{
			"nothing of it": head + "Content-Length: 100\r\n\r\n",
			"half of it":    head + "Content-Length: 100\r\n\r\n" + `{"` + marker + `":`,
			"chunked":       head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"m4r\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := f.dial(t)
				c.write(t, request)
				checkRefusal(t, c.answer(t), http.StatusRequestTimeout,
					`{"error":"RequestTimeout","detail":"The body did not arrive in time"}`, "")
			})
		}
	})
	f.checkUnhurt(t)
}

// Whoever holds many connections open and says nothing is shown out.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.readTimeout = 500 * time.Millisecond })
	for range 20 {
		c := f.dial(t)
		c.write(t, "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: ")
		defer func() {
			if rest := c.rest(t); bytes.Contains(rest, []byte(" 20")) {
				t.Errorf("got %q, want a closed connection", rest)
			}
		}()
	}
	f.createAny(t)
}
