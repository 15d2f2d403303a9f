package issuer_test

import (
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
)

// Variables of other programs have no effect, and a setting that is set and
// empty has its default. Not parallel: it changes the environment.
func TestSettingsReadOnlyTheirOwn(t *testing.T) {
	for name, value := range map[string]string{
		"CUSTOMERSESSION_ISSUER":             "https://sessions.example.com",
		"CUSTOMERSESSION_KEYS_FILE":          "keys.json",
		"CUSTOMERSESSION_ORGANIZATIONS_FILE": "organizations.json",
		"CUSTOMERSESSION_CUSTOMERS":          "request",
		"CUSTOMERSESSION_AUDIENCE":           "",
		"CUSTOMERSESSION_SESSION_LIFETIME":   "",
		"CUSTOMERSESSION_LOG_LEVEL":          "",
		"AUDIENCE":                           "admin",
		"SESSION_LIFETIME":                   "2h",
		"KEY_RATE":                           "0",
		"CUSTOMERS_FILE":                     "customers.jsonl",
	} {
		t.Setenv(name, value)
	}
	s, err := issuer.LoadSettings()
	if err != nil {
		t.Fatal(err)
	}
	if s.Audience != "customer-portal" || s.SessionLifetime != time.Hour || s.KeyRate != 100 || s.CustomersFile != "" {
		t.Errorf("got audience %q, lifetime %v, rate %v and file %q, want the defaults",
			s.Audience, s.SessionLifetime, s.KeyRate, s.CustomersFile)
	}
}
