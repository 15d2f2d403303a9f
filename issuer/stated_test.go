package issuer_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// newStatedFixture is a server that looks no customers up.
func newStatedFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, func(o *fixtureOptions) { o.directory = customers.Request{} })
}

// stated is a request that states its customer.
func stated(customer string) string {
	return `{"customer_id":"` + customerID + `","customer":` + customer + `}`
}

func TestStatedCustomer(t *testing.T) {
	t.Parallel()
	f := newStatedFixture(t)
	a := f.create(t, stated(`{"email":"ada@example.com","name":"Ada","metadata":{"a":1.50,"b":-0,"c":"x"},
		"billing_address":{"country":"gb"},"created_at":"2026-01-15T10:00:00+01:00","unknown":[null]}`))
	want := object(t, []byte(`{"id":"`+customerID+`","organization_id":"`+orgID+`","created_at":"2026-01-15T09:00:00Z",
		"modified_at":null,"deleted_at":null,"first_user_event_at":null,"metadata":{"a":1.50,"b":-0,"c":"x"},"external_id":null,
		"email":"ada@example.com","email_verified":false,"type":"individual","name":"Ada","billing_name":null,"locale":null,
		"default_payment_method_id":null,"tax_id":null,"avatar_url":"`+gravatar("ada@example.com")+`",
		"billing_address":{"country":"GB","line1":null,"line2":null,"postal_code":null,"city":null,"state":null}}`))
	if got := object(t, a.body)["customer"]; !reflect.DeepEqual(got, any(want)) {
		t.Errorf("the customer is\n%v\nwant\n%v", got, want)
	}
	if sub := claims(t, a.text(t, "token"))["sub"]; sub != customerID {
		t.Errorf("the token's sub is %v, want %s", sub, customerID)
	}
}

// A customer who is stated without a beginning begins now.
func TestStatedCustomerIsNew(t *testing.T) {
	t.Parallel()
	f := newStatedFixture(t)
	before := time.Now().Truncate(time.Second)
	a := f.create(t, stated(`{"email":"ada@example.com"}`))
	customer, _ := a.members(t)["customer"].(map[string]any)
	text, _ := customer["created_at"].(string)
	if created := instant(t, text); created.Before(before) || created.After(time.Now()) {
		t.Errorf("created_at is %s, want the present time", created)
	}
}

func TestStatedCustomerAccepted(t *testing.T) {
	t.Parallel()
	var tests []requestCase
	add := func(name, body string) { tests = append(tests, requestCase{name, body, customerID, ""}) }
	add("only the e-mail address", stated(`{"email":"ada@example.com"}`))
	add("team without an e-mail address", `{"customer_id":"`+customerID+`","member_id":"`+ownerID+`","customer":{"type":"team","members":[{"id":"`+ownerID+`","email":"joan@example.com"}]}}`)
	add("same ID in upper case", stated(`{"email":"a@b.example","id":"`+strings.ToUpper(customerID)+`"}`))
	add("same organization", stated(`{"email":"a@b.example","organization_id":"`+orgID+`"}`))
	add("everything null", stated(`{"email":"a@b.example","id":null,"organization_id":null,"created_at":null,"modified_at":null,
		"metadata":null,"external_id":null,"email_verified":null,"type":null,"name":null,"billing_name":null,"billing_address":null,
		"tax_id":null,"locale":null,"default_payment_method_id":null,"deleted_at":null,"first_user_event_at":null,"avatar_url":null}`))
	add("external ID in both places", `{"customer_id":"`+customerID+`","external_customer_id":"e","customer":{"email":"a@b.example","external_id":"e"}}`)
	checkRequests(t, newStatedFixture(t), tests)
}

func TestStatedCustomerRefused(t *testing.T) {
	t.Parallel()
	const email = `"email":"ada@example.com"`
	var tests []requestCase
	add := func(name, body, problems string) {
		tests = append(tests, requestCase{name, body, "", problems})
	}
	member := func(name, text, kind, place string) {
		add(name, stated(`{`+email+`,`+text+`}`), ": "+kind+" body.customer."+place)
	}
	add("not stated", `{"customer_id":"`+customerID+`"}`, "Polar: value_error body.customer")
	add("stated null", stated(`null`), "Polar: value_error body.customer")
	add("without an ID", `{"external_customer_id":"e","customer":{`+email+`}}`, "Polar: value_error body.customer_id")
	add("without anything", `{"customer":{`+email+`}}`, nobody)
	add("list", stated(`[]`), ": model_attributes_type body.customer")
	add("no e-mail address", stated(`{}`), ": missing body.customer.email")
	add("e-mail address null", stated(`{"email":null}`), ": value_error body.customer.email")
	add("no e-mail address at all", stated(`{"email":"ada"}`), ": value_error body.customer.email")
	add("e-mail address of another type", stated(`{"email":1}`), ": string_type body.customer.email")
	add("another ID", stated(`{`+email+`,"id":"`+otherCustomerID+`"}`), "Polar: value_error body.customer_id")
	add("another external ID", `{"customer_id":"`+customerID+`","external_customer_id":"e","customer":{`+email+`,"external_id":"f"}}`,
		"Polar: value_error body.customer_id")
	add("deleted", stated(`{`+email+`,"deleted_at":"2026-01-01T00:00:00Z"}`), "Polar: value_error body.customer_id")
	member("another organization", `"organization_id":"`+foreignOrgID+`"`, "value_error", "organization_id")
	member("bad ID", `"id":"x"`, "uuid_parsing", "id")
	member("unknown type", `"type":"robot"`, "enum", "type")
	member("bad time", `"created_at":"yesterday"`, "datetime_parsing", "created_at")
	member("time that is a number", `"modified_at":1768467600`, "string_type", "modified_at")
	member("name of another type", `"name":["Ada"]`, "string_type", "name")
	member("NUL", `"name":"Ada\u0000"`, "value_error", "name")
	member("verified of another type", `"email_verified":"yes"`, "bool_type", "email_verified")
	member("bad payment method", `"default_payment_method_id":"card"`, "uuid_parsing", "default_payment_method_id")
	member("metadata of another type", `"metadata":[]`, "dict_type", "metadata")
	member("nested metadata", `"metadata":{"a":{"b":1}}`, "value_error", "metadata.a")
	member("list in metadata", `"metadata":{"a":[1]}`, "value_error", "metadata.a")
	member("null in metadata", `"metadata":{"a":null}`, "value_error", "metadata.a")
	member("number in metadata out of range", `"metadata":{"a":1e999999}`, "value_error", "metadata.a")
	member("tax ID of another type", `"tax_id":"GB1"`, "list_type", "tax_id")
	member("tax ID of one string", `"tax_id":["GB1"]`, "value_error", "tax_id")
	member("tax ID of three strings", `"tax_id":["GB1","gb_vat","x"]`, "value_error", "tax_id")
	member("address of another type", `"billing_address":"London"`, "model_attributes_type", "billing_address")
	member("address without a country", `"billing_address":{"city":"London"}`, "missing", "billing_address.country")
	member("country of three letters", `"billing_address":{"country":"GBR"}`, "value_error", "billing_address.country")
	member("line of another type", `"billing_address":{"country":"GB","line1":1}`, "string_type", "billing_address.line1")
	member("picture with another scheme", `"avatar_url":"javascript:alert(1)"`, "url_scheme", "avatar_url")
	add("two problems", stated(`{"email":"ada","type":"robot"}`), ": value_error body.customer.email enum body.customer.type")
	checkRequests(t, newStatedFixture(t), tests)
}

// A server without customers of its own cannot say who somebody is.
func TestUserOfStatedCustomer(t *testing.T) {
	t.Parallel()
	f := newStatedFixture(t)
	token := f.create(t, stated(`{"email":"ada@example.com"}`)).text(t, "token")
	a := f.portal(t, "user", token)
	want := map[string]any{"error": "ResourceNotFound", "detail": "This server does not know its customers"}
	if a.status != http.StatusNotFound || !reflect.DeepEqual(a.members(t), want) {
		t.Errorf("got %d %s, want 404 %v", a.status, a.body, want)
	}
	if a := f.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("introspecting: got %d %s, want 200", a.status, a.body)
	}
}
