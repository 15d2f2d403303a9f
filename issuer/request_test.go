package issuer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/verify/wire"
)

// problems is a 422 in one line: the error, then type and place of each
// problem.
func problems(t testing.TB, a *answer) string {
	t.Helper()
	var body struct {
		Error  string `json:"error"`
		Detail []struct {
			Type string `json:"type"`
			Loc  []any  `json:"loc"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Fatalf("the answer %d %s is no validation error: %v", a.status, a.body, err)
	}
	var line strings.Builder
	line.WriteString(strings.TrimSuffix(body.Error, "RequestValidationError") + ":")
	for _, problem := range body.Detail {
		place := make([]string, len(problem.Loc))
		for i, part := range problem.Loc {
			place[i] = fmt.Sprint(part)
		}
		line.WriteString(" " + problem.Type + " " + strings.Join(place, "."))
	}
	return line.String()
}

// The places of the two ways to name a customer.
const (
	atID       = "body.CustomerSessionCustomerIDCreate.customer_id"
	atExternal = "body.CustomerSessionCustomerExternalIDCreate.external_customer_id"
	atOldName  = "body.CustomerSessionCustomerExternalIDCreate.customer_external_id"
	atReturn   = "body.return_url"
	atLifetime = "body.expires_in"
	nobody     = ": missing " + atID + " missing " + atExternal
)

// A requestCase is a body to create a session with, and what comes of it: the
// customer in the answer, or a 422.
type requestCase struct{ name, body, customer, problems string }

// checkRequests tries each case against the server.
func checkRequests(t *testing.T, f *fixture, tests []requestCase) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.post(t, f.secret, test.body)
			if test.customer != "" {
				if a.status != http.StatusCreated {
					t.Fatalf("got %d %s, want 201", a.status, a.body)
				}
				if got := a.text(t, "customer_id"); got != test.customer {
					t.Errorf("the session is for %s, want %s", got, test.customer)
				}
				return
			}
			if a.status != http.StatusUnprocessableEntity {
				t.Fatalf("got %d %s, want 422", a.status, a.body)
			}
			if got := problems(t, a); got != test.problems {
				t.Errorf("got the problems %q, want %q", got, test.problems)
			}
		})
	}
}

func TestCustomerID(t *testing.T) {
	t.Parallel()
	refused := func(kind string) string { return ": " + kind + " " + atID }
	checkRequests(t, newFixture(t), []requestCase{
		{"known", `{"customer_id":"` + customerID + `"}`, customerID, ""},
		{"upper case", `{"customer_id":"` + strings.ToUpper(customerID) + `"}`, customerID, ""},
		{"version 7", `{"customer_id":"` + timeOrderedID + `"}`, timeOrderedID, ""},
		{"version 1", `{"customer_id":"` + hostTimeID + `"}`, hostTimeID, ""},
		{"escaped", `{"customer_id":"\u0039` + customerID[1:] + `"}`, customerID, ""},
		{"null", `{"customer_id":null}`, "", nobody},
		{"number", `{"customer_id":1}`, "", refused("string_type")},
		{"boolean", `{"customer_id":true}`, "", refused("string_type")},
		{"list", `{"customer_id":["` + customerID + `"]}`, "", refused("string_type")},
		{"object", `{"customer_id":{}}`, "", refused("string_type")},
		{"empty", `{"customer_id":""}`, "", refused("uuid_parsing")},
		{"no UUID", `{"customer_id":"user_1"}`, "", refused("uuid_parsing")},
		{"in braces", `{"customer_id":"{` + customerID + `}"}`, "", refused("uuid_parsing")},
		{"URN", `{"customer_id":"urn:uuid:` + customerID + `"}`, "", refused("uuid_parsing")},
		{"without hyphens", `{"customer_id":"` + strings.ReplaceAll(customerID, "-", "") + `"}`, "", refused("uuid_parsing")},
		{"with white space", `{"customer_id":" ` + customerID + `"}`, "", refused("uuid_parsing")},
		{"nil UUID", `{"customer_id":"00000000-0000-0000-0000-000000000000"}`, "", refused("uuid_parsing")},
		{"NUL", `{"customer_id":"` + customerID + `\u0000"}`, "", refused("value_error")},
		{"unknown", `{"customer_id":"` + unknownID + `"}`, "", "Polar: value_error body.customer_id"},
		{"deleted", `{"customer_id":"` + deletedID + `"}`, "", "Polar: value_error body.customer_id"},
		{"another organization's", `{"customer_id":"` + foreignID + `"}`, "", "Polar: value_error body.customer_id"},
	})
}

func TestExternalCustomerID(t *testing.T) {
	t.Parallel()
	refused := func(kind string) string { return ": " + kind + " " + atExternal }
	checkRequests(t, newFixture(t), []requestCase{
		{"known", `{"external_customer_id":"` + externalID + `"}`, customerID, ""},
		{"older name", `{"customer_external_id":"` + externalID + `"}`, customerID, ""},
		{"both names alike", `{"customer_external_id":"user_alan","external_customer_id":"user_alan"}`, otherCustomerID, ""},
		{"older name null", `{"customer_external_id":null,"external_customer_id":"user_alan"}`, otherCustomerID, ""},
		{"both names differ", `{"external_customer_id":"user_alan","customer_external_id":"full"}`, "", ": value_error " + atOldName},
		{"null", `{"external_customer_id":null}`, "", nobody},
		{"number", `{"external_customer_id":7}`, "", refused("string_type")},
		{"list", `{"external_customer_id":[]}`, "", refused("string_type")},
		{"older name, number", `{"customer_external_id":7}`, "", ": string_type " + atOldName},
		{"empty", `{"external_customer_id":""}`, "", refused("value_error")},
		{"NUL", `{"external_customer_id":"user_alan\u0000"}`, "", refused("value_error")},
		{"longest", `{"external_customer_id":"` + strings.Repeat("é", 255) + `"}`, "", "Polar: value_error body.external_customer_id"},
		{"too long", `{"external_customer_id":"` + strings.Repeat("é", 256) + `"}`, "", refused("string_too_long")},
		{"much too long", `{"external_customer_id":"` + strings.Repeat("x", 40_000) + `"}`, "", refused("string_too_long")},
		{"older name, too long", `{"customer_external_id":"` + strings.Repeat("x", 256) + `"}`, "", ": string_too_long " + atOldName},
		{"another case", `{"external_customer_id":"USER_ALAN"}`, "", "Polar: value_error body.external_customer_id"},
		{"unknown", `{"external_customer_id":"nobody"}`, "", "Polar: value_error body.external_customer_id"},
		{"older name, unknown", `{"customer_external_id":"nobody"}`, "", "Polar: value_error body.external_customer_id"},
		{"another organization's", `{"external_customer_id":"user_grace"}`, "", "Polar: value_error body.external_customer_id"},
	})
}

func TestBothIdentifiers(t *testing.T) {
	t.Parallel()
	both := func(id, external string) string {
		return `{"customer_id":"` + id + `","external_customer_id":"` + external + `"}`
	}
	checkRequests(t, newFixture(t), []requestCase{
		{"one customer", both(customerID, externalID), customerID, ""},
		{"two customers", both(customerID, "user_alan"), "", "Polar: value_error body.customer_id"},
		{"ID unknown", both(unknownID, externalID), "", "Polar: value_error body.customer_id"},
		{"external ID unknown", both(customerID, "nobody"), "", "Polar: value_error body.customer_id"},
		{"ID null", `{"customer_id":null,"external_customer_id":"user_alan"}`, otherCustomerID, ""},
		{"external ID null", `{"customer_id":"` + customerID + `","external_customer_id":null}`, customerID, ""},
		{"both wrong", `{"customer_id":1,"external_customer_id":2}`, "", ": string_type " + atID + " string_type " + atExternal},
		{"neither", `{}`, "", nobody},
		{"both null", `{"customer_id":null,"external_customer_id":null}`, "", nobody},
	})
}

func TestOtherMembers(t *testing.T) {
	t.Parallel()
	with := func(members string) string { return `{"customer_id":"` + customerID + `",` + members + `}` }
	checkRequests(t, newFixture(t), []requestCase{
		{"members null", with(`"member_id":null,"external_member_id":null`), customerID, ""},
		{"unknown members", with(`"foo":{"customer_id":[1,"\u0000"]},"":0,"Customer_ID":1`), customerID, ""},
		{"customer null", with(`"customer":null`), customerID, ""},
		{"customer, though this server has its own", with(`"customer":{"email":"eve@example.com"}`), "", "Polar: value_error body.customer"},
		{"customer of another type", with(`"customer":"ada"`), "", ": model_attributes_type body.customer"},
		{
			"everything wrong at once", `{"customer_id":"x","return_url":1,"expires_in":"1","member_id":"m"}`, "",
			": uuid_parsing " + atID + " string_type " + atReturn + " value_error " + atLifetime + " uuid_parsing body.member_id",
		},
	})
}

func TestReturnURL(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const host = "https://shop.example.com/"
	longest := host + strings.Repeat("a", wire.MaxReturnURLLength-len(host))
	for _, test := range []struct{ name, value, want string }{
		{"null", `null`, ""},
		{"with a path", `"https://shop.example.com/account"`, "https://shop.example.com/account"},
		{"bare host", `"https://shop.example.com"`, host},
		{"bare host with a query", `"https://shop.example.com?a=b"`, host + "?a=b"},
		{"http, port, query, fragment", `"http://localhost:3000/a?b=c&d=%20#e"`, "http://localhost:3000/a?b=c&d=%20#e"},
		{"IPv6", `"http://[::1]:8080/"`, "http://[::1]:8080/"},
		{"escaped in JSON", `"https:\/\/shop.example.com\/\u0061"`, host + "a"},
		{"not ASCII", `"https://shop.example.com/\u00e9"`, host + "%C3%A9"},
		{"quotation mark", `"https://shop.example.com/\"<>"`, host + "%22%3C%3E"},
		{"query as SDK adapters send it", `"https://shop.example.com/?q=a b&r=✓"`, host + "?q=a%20b&r=%E2%9C%93"},
		{"quotation mark in the query", `"https://shop.example.com/?q=\"<>"`, host + "?q=%22%3C%3E"},
		{"lone percent sign", `"https://shop.example.com/100%/%zz?q=5%"`, host + "100%/%zz?q=5%"},
		{"host in Unicode and capitals", `"https://B\u00dccher.Example/"`, "https://xn--bcher-kva.example/"},
		{"default port and dots", `"https://shop.example.com:443/a/../b"`, host + "b"},
		{"longest", `"` + longest + `"`, longest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.create(t, `{"customer_id":"`+customerID+`","return_url":`+test.value+`}`)
			got, _ := a.members(t)["return_url"].(string)
			if got != test.want {
				t.Errorf("return_url is %q, want %q", got, test.want)
			}
			claim, _ := claims(t, a.text(t, "token"))["return_url"].(string)
			if claim != test.want {
				t.Errorf("the claim return_url is %q, want %q", claim, test.want)
			}
		})
	}
}

func TestReturnURLRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const host = "https://shop.example.com/"
	var tests []requestCase
	add := func(name, value, kind string) {
		tests = append(tests, requestCase{name, `{"customer_id":"` + customerID + `","return_url":` + value + `}`, "", ": " + kind + " " + atReturn})
	}
	add("number", `1`, "string_type")
	add("list", `["https://shop.example.com/"]`, "string_type")
	add("one character too long", `"`+host+strings.Repeat("a", wire.MaxReturnURLLength+1-len(host))+`"`, "string_too_long")
	add("too long once it is escaped", `"`+host+strings.Repeat("\u00e9", 900)+`"`, "string_too_long")
	add("ftp", `"ftp://shop.example.com/"`, "url_scheme")
	add("script", `"javascript:alert(1)"`, "url_scheme")
	add("data", `"data:text/html,x"`, "url_scheme")
	add("no host", `"https:///a"`, "url_parsing")
	add("only a port", `"https://:443/a"`, "url_parsing")
	add("port out of range", `"https://shop.example.com:99999/"`, "url_parsing")
	add("IPv4 out of range", `"https://256.256.256.256/"`, "url_parsing")
	add("IPv6 with a zone", `"https://[fe80::1%25eth0]/"`, "url_parsing")
	add("broken Punycode", `"https://xn--zn7c.example/"`, "url_parsing")
	add("line feed", `"https://shop.example.com/\n"`, "url_parsing")
	add("credentials", `"https://ada:pw@shop.example.com/"`, "url_parsing")
	add("host that browsers read otherwise", `"https://shop.example.com\\@evil.example"`, "url_parsing")
	add("NUL", `"https://shop.example.com/\u0000"`, "value_error")
	checkRequests(t, f, tests)
	for _, relative := range []string{"", "/account", "shop.example.com/account", "//shop.example.com/"} {
		t.Run("relative "+relative, func(t *testing.T) {
			t.Parallel()
			a := f.post(t, f.secret, `{"customer_id":"`+customerID+`","return_url":"`+relative+`"}`)
			if a.status != http.StatusUnprocessableEntity || !strings.HasSuffix(problems(t, a), " "+atReturn) {
				t.Errorf("got %d %s, want a 422 about return_url", a.status, a.body)
			}
		})
	}
}

// An organization may list the hosts that return URLs name.
func TestReturnURLHosts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for url, allowed := range map[string]bool{
		"https://shop.example.com":               true,
		"http://SHOP.example.com:3000/a?b=c":     true,
		"https://b\u00fccher.example/":           true,
		"https://shop.example.com.evil.example/": false,
		"https://evil.example/shop.example.com":  false,
		"https://www.shop.example.com/":          false,
		"https://shop.example.com./":             false,
		"https://example.com/":                   false,
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			a := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`","return_url":"`+url+`"}`)
			if allowed {
				if a.status != http.StatusCreated {
					t.Errorf("got %d %s, want 201", a.status, a.body)
				}
				return
			}
			checkRefusal(t, a, http.StatusUnprocessableEntity, `{"error":"PolarRequestValidationError","detail":[{"type":"value_error",
				"loc":["body","return_url"],"msg":"The organization does not list this host among its return_url_hosts."}]}`, "")
		})
	}
	if a := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`); a.status != http.StatusCreated {
		t.Errorf("without a return URL: got %d %s, want 201", a.status, a.body)
	}
}

func TestExpiresIn(t *testing.T) {
	t.Parallel()
	day := newFixture(t)
	half := newFixture(t, func(o *fixtureOptions) {
		o.change = func(c *issuer.Config) { c.Lifetime, c.MaxLifetime = 10*time.Minute, 30*time.Minute }
	})
	for _, test := range []struct {
		name  string
		f     *fixture
		value string
		want  time.Duration // 0: refused
	}{
		{"absent", day, ``, time.Hour},
		{"null", day, `,"expires_in":null`, time.Hour},
		{"shortest", day, `,"expires_in":60`, time.Minute},
		{"too short", day, `,"expires_in":59`, 0},
		{"zero", day, `,"expires_in":0`, 0},
		{"negative", day, `,"expires_in":-3600`, 0},
		{"longest", day, `,"expires_in":86400`, 24 * time.Hour},
		{"too long", day, `,"expires_in":86401`, 0},
		{"fraction", day, `,"expires_in":90.5`, 0},
		{"string", day, `,"expires_in":"600"`, 0},
		{"boolean", day, `,"expires_in":true`, 0},
		{"overflow", day, `,"expires_in":18446744073709551676`, 0},
		{"configured default", half, ``, 10 * time.Minute},
		{"configured longest", half, `,"expires_in":1800`, 30 * time.Minute},
		{"more than configured", half, `,"expires_in":1801`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := test.f.post(t, test.f.secret, `{"customer_id":"`+customerID+`"`+test.value+`}`)
			if test.want == 0 {
				if a.status != http.StatusUnprocessableEntity || problems(t, a) != ": value_error "+atLifetime {
					t.Errorf("got %d %s, want a 422 about expires_in", a.status, a.body)
				}
				return
			}
			if a.status != http.StatusCreated {
				t.Fatalf("got %d %s, want 201", a.status, a.body)
			}
			if got := instant(t, a.text(t, "expires_at")).Sub(instant(t, a.text(t, "created_at"))); got != test.want {
				t.Errorf("the session lasts %s, want %s", got, test.want)
			}
		})
	}
}
