package organizations_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

func TestNewAPIKey(t *testing.T) {
	t.Parallel()
	both := []organizations.Scope{organizations.ScopeWrite, organizations.ScopeIntrospect}
	tests := []struct {
		name    string
		scopes  []organizations.Scope
		expires time.Time
	}{
		{"checkout", both[:1], time.Time{}},
		{"R&D <till> \"1\"", both, time.Date(2999, 1, 1, 1, 0, 0, 5, time.FixedZone("", 3600))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			secret, entry, err := organizations.NewAPIKey(test.name, test.scopes, test.expires)
			if err != nil {
				t.Fatal(err)
			}
			if !organizations.WellFormed(secret.Reveal()) {
				t.Error("the secret is not well formed")
			}
			if strings.Contains(string(entry), secret.Reveal()[4:]) {
				t.Error("the entry holds the secret")
			}
			registry, err := organizations.Parse(strings.NewReader(file(acme(string(entry)))))
			if err != nil {
				t.Fatalf("the entry is refused: %v\n%s", err, entry)
			}
			key, err := registry.Authenticate(secret.Reveal(), time.Now())
			if err != nil {
				t.Fatalf("the secret is refused: %v", err)
			}
			checkKey(t, key, test.name, test.scopes, test.expires.Truncate(time.Second))
		})
	}
}

// checkKey compares a key with what it was made of.
func checkKey(t *testing.T, key *organizations.APIKey, name string,
	scopes []organizations.Scope, expires time.Time,
) {
	t.Helper()
	if key.Name != name {
		t.Errorf("name: got %q, want %q", key.Name, name)
	}
	if !key.ExpiresAt.Equal(expires) {
		t.Errorf("expiry: got %v, want %v", key.ExpiresAt, expires)
	}
	for _, scope := range []organizations.Scope{
		organizations.ScopeWrite, organizations.ScopeIntrospect,
	} {
		if got, want := key.Has(scope), slices.Contains(scopes, scope); got != want {
			t.Errorf("%s: got %v, want %v", scope, got, want)
		}
	}
}

func TestNewAPIKeyEntry(t *testing.T) {
	t.Parallel()
	secret, entry, err := organizations.NewAPIKey("a",
		[]organizations.Scope{organizations.ScopeWrite}, time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "name": "a",
  "secret_sha256": "` + organizations.HashSecret(secret.Reveal()) + `",
  "scopes": [
    "customer_sessions:write"
  ],
  "expires_at": "2999-01-01T00:00:00Z"
}`
	if string(entry) != want {
		t.Errorf("got\n%s\nwant\n%s", entry, want)
	}
	if !json.Valid(entry) {
		t.Error("the entry is not JSON")
	}
}

func TestNewAPIKeyRefuses(t *testing.T) {
	t.Parallel()
	write := []organizations.Scope{organizations.ScopeWrite}
	tests := []struct {
		name, key string
		scopes    []organizations.Scope
		expires   time.Time
		want      string
	}{
		{"no name", "", write, time.Time{}, "name:"},
		{"name not UTF-8", "\xff", write, time.Time{}, "name:"},
		{"no scope", "a", nil, time.Time{}, "scopes:"},
		{"unknown scope", "a", []organizations.Scope{"x"}, time.Time{}, "scopes[0]:"},
		{"expired", "a", write, time.Now().Add(-time.Hour), "not in the future"},
		{"beyond RFC 3339", "a", write, time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), "year"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			secret, entry, err := organizations.NewAPIKey(test.key, test.scopes, test.expires)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want %q", err, test.want)
			}
			if secret != "" || entry != nil {
				t.Error("got a key beside the error")
			}
		})
	}
}
