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

// The members of the tests: Joan and Mavis are in Grace's team, which Hugh has left;
// Tommy is in Eve's, with Joan's external ID.
var (
	joan  = uuid.MustParse("44444444-4444-4444-8444-000000000001")
	mavis = uuid.MustParse("44444444-4444-4444-8444-000000000002")
	hugh  = uuid.MustParse("44444444-4444-4444-8444-000000000003")
	tommy = uuid.MustParse("44444444-4444-4444-8444-000000000004")
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
		{grace, home, "user-2", `"email":"grace@example.com","email_verified":true,"type":"team","members":[` +
			`{"id":"` + joan.String() + `","external_id":"joan/1 é?#","email":"joan@example.com","name":"Joan","role":"owner"},` +
			`{"id":"` + mavis.String() + `","email":"mavis@example.com","role":null},` +
			`{"id":"` + hugh.String() + `","external_id":"hugh","email":"hugh@example.com","role":"billing_manager","deleted_at":"2026-03-04T05:06:07Z"}]`},
		{alan, home, "user-3", `"email":"alan@example.com","deleted_at":"2026-03-04T05:06:07Z"`},
		{eve, abroad, "user/1 é?#", `"email":"eve@example.com","type":"team","members":[` +
			`{"id":"` + tommy.String() + `","external_id":"joan/1 é?#","email":"tommy@example.com","role":"billing_manager"}]`},
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
	testMembers(t, directory)
}

// testMembers checks the rules about members that every directory with look-ups
// obeys. The directory must hold the population.
func testMembers(t *testing.T, directory customers.Directory) {
	t.Helper()
	tests := []struct {
		name     string
		query    customers.Query // the organization is that of the customer
		customer uuid.UUID
		want     uuid.UUID
		err      error
	}{
		{"by ID", customers.Query{MemberID: joan}, grace, joan, nil},
		{"by external ID", customers.Query{ExternalMemberID: "joan/1 é?#"}, grace, joan, nil},
		{"by both", customers.Query{MemberID: mavis, ExternalMemberID: "joan/1 é?#"}, grace, mavis, nil},
		{"by ID and no external ID", customers.Query{MemberID: mavis, ExternalMemberID: "nobody"}, grace, mavis, nil},
		{"external ID of another's", customers.Query{ExternalMemberID: "joan/1 é?#"}, eve, tommy, nil},
		{"unknown ID", customers.Query{MemberID: nobody}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"unknown external ID", customers.Query{ExternalMemberID: "nobody"}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"another customer's", customers.Query{MemberID: tommy}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"of a customer without members", customers.Query{MemberID: joan}, ada, uuid.Nil, customers.ErrMemberNotFound},
		{"the customer", customers.Query{MemberID: grace}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"deleted", customers.Query{MemberID: hugh}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"deleted by external ID", customers.Query{ExternalMemberID: "hugh"}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"nobody named", customers.Query{}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"NUL", customers.Query{ExternalMemberID: "hugh\x00"}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"not UTF-8", customers.Query{ExternalMemberID: "\xff"}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"too long", customers.Query{ExternalMemberID: strings.Repeat("x", 256)}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"the folder above", customers.Query{ExternalMemberID: ".."}, grace, uuid.Nil, customers.ErrMemberNotFound},
		{"a quote", customers.Query{ExternalMemberID: "' OR true --"}, grace, uuid.Nil, customers.ErrMemberNotFound},
	}
	for _, test := range tests {
		t.Run("member "+test.name, func(t *testing.T) {
			query := test.query
			query.OrganizationID, query.ID = home, test.customer
			if test.customer == eve {
				query.OrganizationID = abroad
			}
			m, err := directory.FindMember(t.Context(), query, find(t.Context(), t, directory, query))
			if !errors.Is(err, test.err) {
				t.Fatalf("error is %v, want %v", err, test.err)
			}
			if err != nil && m != nil {
				t.Errorf("an error comes with the member %v", m)
			}
			if err == nil && m.ID != test.want {
				t.Errorf("found %s, want %s", m.ID, test.want)
			}
		})
	}
	t.Run("member whole", func(t *testing.T) {
		for id, want := range map[uuid.UUID]string{
			joan:  `"joan/1 é?#" "Joan" joan@example.com owner`,
			mavis: `null null mavis@example.com member`,
		} {
			query := customers.Query{OrganizationID: home, ID: grace, MemberID: id}
			m, err := directory.FindMember(t.Context(), query, find(t.Context(), t, directory, query))
			if err != nil {
				t.Fatal(err)
			}
			text := func(s *string) string {
				if s == nil {
					return "null"
				}
				return fmt.Sprintf("%q", *s)
			}
			if got := fmt.Sprint(text(m.ExternalID), " ", text(m.Name), " ", m.Email, " ", m.Role); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
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

// A stated member is one of those that the request lists.
func TestRequestMember(t *testing.T) {
	t.Parallel()
	query := func(q customers.Query) customers.Query {
		q.OrganizationID, q.ID = home, grace
		q.Stated = []byte(`{"type":"team","members":[{"id":"` + joan.String() + `","external_id":"joan","email":"joan@example.com","role":"owner"}]}`)
		return q
	}
	for name, test := range map[string]struct {
		query customers.Query
		err   error
	}{
		"by ID":               {customers.Query{MemberID: joan}, nil},
		"by external ID":      {customers.Query{ExternalMemberID: "joan"}, nil},
		"unknown":             {customers.Query{MemberID: mavis, ExternalMemberID: "joan"}, customers.ErrMemberNotFound},
		"unknown external ID": {customers.Query{ExternalMemberID: "mavis"}, customers.ErrMemberNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			directory, q := customers.Request{}, query(test.query)
			m, err := directory.FindMember(t.Context(), q, find(t.Context(), t, directory, q))
			if !errors.Is(err, test.err) || err == nil && (m.ID != joan || m.Role != customers.Owner) {
				t.Errorf("got %v, %v; want the error %v", m, err, test.err)
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
		{"bad member", `{"type":"team","members":[{"id":"` + joan.String() + `","email":"a@b"},{"id":"` + mavis.String() + `","email":"b"}]}`, "[members 1 email]"},
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
