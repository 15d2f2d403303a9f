package customers_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
)

func everything() *customers.Customer {
	id := uuid.MustParse("33333333-3333-4333-8333-333333333333")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := func(s string) *string { return &s }
	return &customers.Customer{
		ID: id, OrganizationID: uuid.MustParse("0189abcd-ef01-7345-8789-abcdef012345"),
		CreatedAt: at, ModifiedAt: &at, Metadata: json.RawMessage(`{"plan":"pro","seats":5}`),
		ExternalID: text("user_1"), Email: text("ada@example.com"), EmailVerified: true,
		Type: customers.Individual, Name: text("Ada Lovelace"), BillingName: text("Analytical Ltd"),
		BillingAddress: &customers.Address{
			Country: "GB", Line1: text("1 St James's Square"), Line2: text(""),
			PostalCode: text("SW1"), City: text("London"), State: nil,
		},
		TaxID: []string{"GB123", "gb_vat"}, Locale: text("en-GB"), DefaultPaymentMethodID: &id,
		DeletedAt: &at, FirstUserEventAt: &at, AvatarURL: "https://example.com/a.png?a=1&b=<2>",
	}
}

// TestAppendJSON compares with encoding/json: what both write must be read as
// the same.
func TestAppendJSON(t *testing.T) {
	t.Parallel()
	var control strings.Builder
	for c := range rune(0x100) {
		control.WriteRune(c)
	}
	texts := map[string]string{
		"plain":        "abc",
		"empty":        "",
		"markup":       `<a href="x">&amp;</a>`,
		"controls":     control.String(),
		"separators":   "a\u2028b\u2029c",
		"emoji":        "😀\U0010ffff",
		"not UTF-8":    "a\xffb\xc3\xedc\xa0\x80\xf4",
		"ends midway":  "\xf0\x9f\x98",
		"replacement":  "\ufffd",
		"only escapes": "\"\\\n\"",
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := everything()
			c.Name, c.BillingAddress.City, c.TaxID[1], c.AvatarURL = &text, &text, text, text
			compare(t, c)
		})
	}
	t.Run("nulls", func(t *testing.T) {
		t.Parallel()
		compare(t, &customers.Customer{Metadata: json.RawMessage("{}")})
	})
	t.Run("empty list", func(t *testing.T) {
		t.Parallel()
		compare(t, &customers.Customer{Metadata: json.RawMessage("{}"), TaxID: []string{}})
	})
}

func compare(t *testing.T, c *customers.Customer) {
	t.Helper()
	const before = "before"
	got := c.AppendJSON([]byte(before))
	want, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), before) {
		t.Fatalf("%s does not begin with what was there", got)
	}
	got = got[len(before):]
	if !reflect.DeepEqual(decoded(t, got), decoded(t, want)) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if gotNames, wantNames := names(t, got), names(t, want); !reflect.DeepEqual(gotNames, wantNames) {
		t.Errorf("names are %v, want %v", gotNames, wantNames)
	}
}

func decoded(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// names are the names of the members at the top, in order.
func names(t *testing.T, data []byte) []string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	var list []string
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			t.Fatal(err)
		}
		list = append(list, name.(string))
	}
	return list
}

func TestAppendJSONWithoutMetadata(t *testing.T) {
	t.Parallel()
	if got := string((&customers.Customer{}).AppendJSON(nil)); !strings.Contains(got, `"metadata":{},`) {
		t.Errorf("metadata of %s is not {}", got)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	c := everything()
	b.Run("AppendJSON", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = c.AppendJSON(dst[:0])
		}
		b.SetBytes(int64(len(dst)))
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		var size int
		for b.Loop() {
			data, err := json.Marshal(c)
			if err != nil {
				b.Fatal(err)
			}
			size = len(data)
		}
		b.SetBytes(int64(size))
	})
}
