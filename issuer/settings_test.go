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

// Each wrong setting is named, and no other. Not parallel: it changes the
// environment.
func TestSettingsNameTheWrongOne(t *testing.T) {
	for name, value := range map[string]string{
		"CUSTOMERSESSION_ISSUER":             "https://sessions.example.com",
		"CUSTOMERSESSION_KEYS_FILE":          "keys.json",
		"CUSTOMERSESSION_ORGANIZATIONS_FILE": "organizations.json",
		"CUSTOMERSESSION_CUSTOMERS":          "request",
	} {
		t.Setenv(name, value)
	}
	for _, test := range []struct{ name, value, want string }{
		{"CUSTOMERSESSION_KEY_RATE", "NaN", "CUSTOMERSESSION_KEY_RATE is not a number from 0 up"},
		{"CUSTOMERSESSION_SESSION_RATE", "Inf", "CUSTOMERSESSION_SESSION_RATE is not a number from 0 up"},
		{"CUSTOMERSESSION_ADDRESS_RATE", "-1", "CUSTOMERSESSION_ADDRESS_RATE is not a number from 0 up"},
		{"CUSTOMERSESSION_KEY_BURST", "0", "CUSTOMERSESSION_KEY_BURST is less than 1"},
		{"CUSTOMERSESSION_ANONYMOUS_BURST", "-1", "CUSTOMERSESSION_ANONYMOUS_BURST is less than 1"},
		{"CUSTOMERSESSION_AUDIENCE", " ", "CUSTOMERSESSION_AUDIENCE is blank"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(test.name, test.value)
			if _, err := issuer.LoadSettings(); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
