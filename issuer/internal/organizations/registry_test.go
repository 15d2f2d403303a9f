package organizations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

// withSecrets returns a registry of one organization with a key for each
// secret, named k0, k1 and so on, all with the same expiry.
func withSecrets(tb testing.TB, expires string, secrets ...string) *organizations.Registry {
	tb.Helper()
	keys := make([]string, len(secrets))
	for i, secret := range secrets {
		keys[i] = key(fmt.Sprintf("k%d", i), organizations.HashSecret(secret),
			`,"expires_at":`+expires)
	}
	registry, err := organizations.Parse(strings.NewReader(file(acme(keys...))))
	if err != nil {
		tb.Fatal(err)
	}
	return registry
}

// A client ID is what design and documentation say, because the tokens of one
// version must go on naming the same key in the next.
func TestClientID(t *testing.T) {
	t.Parallel()
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // SHA-256("test")
	registry, err := organizations.Parse(strings.NewReader(file(acme(
		key("a", hash, ""), key("b", organizations.HashSecret("other"), ",\"expires_at\":\"2027-01-01T00:00:00Z\"")))))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for organization := range registry.Organizations() {
		for key := range organization.APIKeys() {
			got = append(got, key.ClientID)
		}
	}
	if want := []string{"pRZKbBA9", "8FTApI4a"}; !slices.Equal(got, want) {
		t.Errorf("the client IDs are %q, want %q", got, want)
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	good := organizations.GenerateSecret().Reveal()
	other := organizations.GenerateSecret().Reveal()
	expiry := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	limited := withSecrets(t, `"2027-01-01T00:00:00Z"`, other, good)
	mistyped := "csk_" + strings.Repeat("0", 49)
	unlimited := withSecrets(t, "null", good, mistyped)

	tests := []struct {
		name     string
		registry *organizations.Registry
		secret   string
		now      time.Time
		want     error
	}{
		{"in time", limited, good, expiry.Add(-time.Nanosecond), nil},
		{"at the instant of expiry", limited, good, expiry, organizations.ErrExpiredKey},
		{"long after", limited, good, expiry.AddDate(100, 0, 0), organizations.ErrExpiredKey},
		{"expiry in another zone", limited, good, expiry.In(time.FixedZone("", 3600)), organizations.ErrExpiredKey},
		{"no expiry", unlimited, good, expiry.AddDate(100, 0, 0), nil},
		{"unknown", unlimited, other, expiry, organizations.ErrUnknownKey},
		{"empty", unlimited, "", expiry, organizations.ErrUnknownKey},
		{"the hash instead of the secret", unlimited, organizations.HashSecret(good), expiry, organizations.ErrUnknownKey},
		{"cut short", unlimited, good[:len(good)-1], expiry, organizations.ErrUnknownKey},
		{"in another case", unlimited, strings.ToLower(good), expiry, organizations.ErrUnknownKey},
		{"in the file, but not of our form", unlimited, mistyped, expiry, organizations.ErrUnknownKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			key, err := test.registry.Authenticate(test.secret, test.now)
			if !errors.Is(err, test.want) {
				t.Fatalf("got the error %v, want %v", err, test.want)
			}
			if (key == nil) != (err != nil) {
				t.Errorf("got the key %v and the error %v", key, err)
			}
			if err == nil && key.Organization.Slug != "acme" {
				t.Errorf("got the organization %q", key.Organization.Slug)
			}
		})
	}
}

func TestAuthenticateFindsTheRightKey(t *testing.T) {
	t.Parallel()
	secrets := make([]string, 500)
	for i := range secrets {
		secrets[i] = organizations.GenerateSecret().Reveal()
	}
	registry := withSecrets(t, "null", secrets...)
	for i, secret := range secrets {
		key, err := registry.Authenticate(secret, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("k%d", i); key.Name != want {
			t.Errorf("got the key %s, want %s", key.Name, want)
		}
	}
}

func TestAuthenticateDoesNotAllocate(t *testing.T) {
	secret := organizations.GenerateSecret().Reveal()
	unknown := organizations.GenerateSecret().Reveal()
	registry := withSecrets(t, `"2999-01-01T00:00:00Z"`, secret)
	now := time.Now()
	for name, secret := range map[string]string{"known": secret, "unknown": unknown, "malformed": "x"} {
		got := testing.AllocsPerRun(100, func() {
			_, _ = registry.Authenticate(secret, now)
		})
		if got != 0 {
			t.Errorf("%s key: %v allocations, want none", name, got)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	secrets := make([]string, 1000)
	for i := range secrets {
		secrets[i] = organizations.GenerateSecret().Reveal()
	}
	registry := withSecrets(b, `"2999-01-01T00:00:00Z"`, secrets...)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Authenticate(secrets[500], now); err != nil {
			b.Fatal(err)
		}
	}
}
