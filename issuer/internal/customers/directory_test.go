package customers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// The customers of the tests: Ada and Grace belong to the home organization,
// Alan was deleted there, Eve is in another one and uses Ada's external ID.
var (
	home   = uuid.MustParse("22222222-2222-4222-8222-222222222222")
	abroad = uuid.MustParse("99999999-9999-4999-8999-999999999999")
	ada    = uuid.MustParse("11111111-1111-4111-8111-000000000001")
	grace  = uuid.MustParse("11111111-1111-4111-8111-000000000002")
	alan   = uuid.MustParse("11111111-1111-4111-8111-000000000003")
	eve    = uuid.MustParse("11111111-1111-4111-8111-000000000004")
	nobody = uuid.MustParse("11111111-1111-4111-8111-00000000000f")
)

// population is a JSON Lines file with the customers of the tests.
func population() []byte {
	var b bytes.Buffer
	for _, c := range []struct {
		id, organization uuid.UUID
		externalID, more string
	}{
		{ada, home, "user/1 é?#", `"email":"ada@example.com","name":"Ada","metadata":{"seats":9007199254740993},` +
			`"billing_address":{"country":"GB","city":"London"},"tax_id":["GB1","gb_vat"]`},
		{grace, home, "user-2", `"email":"grace@example.com","email_verified":true`},
		{alan, home, "user-3", `"email":"alan@example.com","deleted_at":"2026-03-04T05:06:07Z"`},
		{eve, abroad, "user/1 é?#", `"email":"eve@example.com"`},
	} {
		fmt.Fprintf(&b, `{"id":%q,"organization_id":%q,"created_at":"2026-01-02T03:04:05Z","external_id":%q,%s}`+"\n",
			c.id, c.organization, c.externalID, c.more)
	}
	return b.Bytes()
}

// testDirectory checks the rules that every directory with look-ups obeys. The
// directory must hold the population.
func testDirectory(t *testing.T, directory customers.Directory) {
	t.Helper()
	tests := []struct {
		name  string
		query customers.Query
		want  uuid.UUID
		err   error
	}{
		{"by ID", customers.Query{OrganizationID: home, ID: ada}, ada, nil},
		{"by external ID", customers.Query{OrganizationID: home, ExternalID: "user-2"}, grace, nil},
		{"by odd external ID", customers.Query{OrganizationID: home, ExternalID: "user/1 é?#"}, ada, nil},
		{"by both", customers.Query{OrganizationID: home, ID: grace, ExternalID: "user-2"}, grace, nil},
		{"by both of two", customers.Query{OrganizationID: home, ID: ada, ExternalID: "user-2"}, uuid.Nil, customers.ErrMismatch},
		{"external ID of another", customers.Query{OrganizationID: abroad, ExternalID: "user/1 é?#"}, eve, nil},
		{"unknown ID", customers.Query{OrganizationID: home, ID: nobody}, uuid.Nil, customers.ErrNotFound},
		{"unknown external ID", customers.Query{OrganizationID: home, ExternalID: "user-9"}, uuid.Nil, customers.ErrNotFound},
		{"foreign", customers.Query{OrganizationID: home, ID: eve}, uuid.Nil, customers.ErrNotFound},
		{"deleted", customers.Query{OrganizationID: home, ID: alan}, uuid.Nil, customers.ErrNotFound},
		{"deleted by external ID", customers.Query{OrganizationID: home, ExternalID: "user-3"}, uuid.Nil, customers.ErrNotFound},
		{"deleted and mismatched", customers.Query{OrganizationID: home, ID: alan, ExternalID: "user-2"}, uuid.Nil, customers.ErrNotFound},
		{"nobody named", customers.Query{OrganizationID: home}, uuid.Nil, customers.ErrNotFound},
		{"NUL", customers.Query{OrganizationID: home, ExternalID: "user-2\x00"}, uuid.Nil, customers.ErrNotFound},
		{"not UTF-8", customers.Query{OrganizationID: home, ExternalID: "\xff"}, uuid.Nil, customers.ErrNotFound},
		{"too long", customers.Query{OrganizationID: home, ExternalID: strings.Repeat("x", 40_000)}, uuid.Nil, customers.ErrNotFound},
		{"the folder above", customers.Query{OrganizationID: home, ExternalID: ".."}, uuid.Nil, customers.ErrNotFound},
		{"a quote", customers.Query{OrganizationID: home, ExternalID: "' OR true --"}, uuid.Nil, customers.ErrNotFound},
		{"stated", customers.Query{OrganizationID: home, ID: ada, Stated: []byte(minimal)}, uuid.Nil, customers.ErrStated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := directory.Find(t.Context(), test.query)
			if !errors.Is(err, test.err) {
				t.Fatalf("error is %v, want %v", err, test.err)
			}
			if err != nil && c != nil {
				t.Errorf("an error comes with the customer %v", c)
			}
			if err == nil && c.ID != test.want {
				t.Errorf("found %s, want %s", c.ID, test.want)
			}
		})
	}
	t.Run("whole", func(t *testing.T) {
		c := find(t.Context(), t, directory, customers.Query{OrganizationID: home, ID: ada})
		want, err := customers.Parse(bytes.SplitAfter(population(), []byte("\n"))[0], customers.Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.AppendJSON(nil), want.AppendJSON(nil); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func find(ctx context.Context, t testing.TB, d customers.Directory, q customers.Query) *customers.Customer {
	t.Helper()
	c, err := d.Find(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequest(t *testing.T) {
	t.Parallel()
	stated := func(s string) customers.Query {
		return customers.Query{OrganizationID: home, ID: ada, ExternalID: "user-1", Stated: []byte(s)}
	}
	tests := []struct {
		name  string
		query customers.Query
		err   error
	}{
		{"the least", stated(`{"email":"ada@example.com"}`), nil},
		{"the same IDs", stated(`{"email":"a@b","id":"` + ada.String() + `","external_id":"user-1","organization_id":"` + home.String() + `"}`), nil},
		{"another ID", stated(`{"email":"a@b","id":"` + eve.String() + `"}`), customers.ErrMismatch},
		{"another external ID", stated(`{"email":"a@b","external_id":"user-2"}`), customers.ErrMismatch},
		{"deleted", stated(`{"email":"a@b","deleted_at":"2026-01-02T03:04:05Z"}`), customers.ErrNotFound},
		{"not stated", customers.Query{OrganizationID: home, ID: ada}, customers.ErrStatedMissing},
		{"without ID", customers.Query{OrganizationID: home, ExternalID: "user-1", Stated: []byte(`{"email":"a@b"}`)}, customers.ErrStatedID},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := customers.Request{}.Find(t.Context(), test.query)
			if !errors.Is(err, test.err) {
				t.Fatalf("error is %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			if c.ID != ada || c.OrganizationID != home || *c.ExternalID != "user-1" || c.CreatedAt.IsZero() {
				t.Errorf("got %s, want the customer that the query names", c.AppendJSON(nil))
			}
		})
	}
}

func TestRequestRefusesInvalidCustomers(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, stated, loc string }{
		{"no e-mail", `{}`, "[email]"},
		{"bad country", `{"email":"a@b","billing_address":{"country":"x"}}`, "[billing_address country]"},
		{"other organization", `{"email":"a@b","organization_id":"` + abroad.String() + `"}`, "[organization_id]"},
		{"no object", `7`, "[]"},
		{"nothing", ``, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := customers.Request{}.Find(t.Context(), customers.Query{
				OrganizationID: home, ID: ada, Stated: []byte(test.stated),
			})
			invalid, ok := errors.AsType[*customers.ValidationError](err)
			if !ok {
				t.Fatalf("error is %v, want a ValidationError", err)
			}
			if got := fmt.Sprint(invalid.Problems[0].Loc); got != test.loc {
				t.Errorf("problem is at %s, want %s", got, test.loc)
			}
		})
	}
}

func TestSecretStaysSecret(t *testing.T) {
	t.Parallel()
	const text = "polar_oat_secret"
	secret := secret.Text(text)
	config := customers.HTTPConfig{BaseURL: "https://example.com", Token: secret}
	directory, err := customers.NewHTTP(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d", "%T%v"} {
		for _, v := range []any{secret, &config, config, directory} {
			if got := fmt.Sprintf(verb, v); bytes.Contains([]byte(got), []byte(text)) {
				t.Errorf("%s shows the secret: %s", verb, got)
			}
		}
	}
	var out bytes.Buffer
	logTo(&out).Info("configured", "secret", secret, "config", config)
	if bytes.Contains(out.Bytes(), []byte(text)) {
		t.Errorf("a log line shows the secret: %s", out.String())
	}
}
