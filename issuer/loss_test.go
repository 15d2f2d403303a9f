package issuer_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys/jwk"
)

// noOrganizations is an organizations file without any.
const noOrganizations = `{"organizations":[]}`

// A version that takes away most of what there was is refused, whichever file it
// is, until the operator says that it is meant. The version in use stays.
func TestLossIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		path       func(*issuer.Settings) string
		bad        func(good string) string
		want       []string
		changes    string
	}{
		{
			"no customers", "customers",
			func(s *issuer.Settings) string { return s.CustomersFile },
			func(string) string { return "" },
			[]string{"it takes away 8 of 8 customers", "SIGHUP"},
			`"customers_added":0,"customers_changed":0,"customers_removed":8`,
		},
		{
			"few customers", "customers",
			func(s *issuer.Settings) string { return s.CustomersFile },
			func(good string) string { return strings.Join(strings.SplitAfter(good, "\n")[:3], "") },
			[]string{"it takes away 5 of 8 customers"},
			`"customers_added":0,"customers_changed":0,"customers_removed":5`,
		},
		{
			"no organizations", "organizations",
			func(s *issuer.Settings) string { return s.OrganizationsFile },
			func(string) string { return noOrganizations },
			[]string{"it takes away 2 of 2 organizations", "it takes away 7 of 7 API keys"},
			`"organizations_removed":2.*"api_keys_removed":7`,
		},
		{
			"few API keys", "organizations",
			func(s *issuer.Settings) string { return s.OrganizationsFile },
			func(good string) string {
				first, rest, _ := strings.Cut(good, `"api_keys":[`)
				_, second, _ := strings.Cut(rest, `{"id":"`+foreignOrgID)
				return first + `"api_keys":[]},{"id":"` + foreignOrgID + second
			},
			[]string{"it takes away 6 of 7 API keys"},
			`"organizations_removed":0.*"api_keys_added":0,"api_keys_changed":0,"api_keys_removed":6`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newFiles(t, newManifest(t, jwk.ES256))
			o.start(t, nil)
			path := test.path(&o.settings)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, test.bad(string(good)))
			line := o.await(t, reloaded(test.file, "refused"))
			ready := string(o.operate(t, http.MethodGet, "/readyz").body)
			for _, want := range test.want {
				if !strings.Contains(line, want) || !strings.Contains(ready, want) {
					t.Errorf("no %q in the line %s or in %s", want, line, ready)
				}
			}
			if got := o.refused(t, test.file); got != "1" {
				t.Errorf("file_refused is %q, want 1", got)
			}
			o.createAny(t)

			o.server.Reload(t.Context())
			o.await(t, reloaded(test.file, "replaced")+".*"+test.changes)
			if got := o.refused(t, test.file); got != "0" {
				t.Errorf("afterwards file_refused is %q, want 0", got)
			}
			if a := o.post(t, o.secret, `{"customer_id":"`+customerID+`"}`); test.name != "few customers" && a.status == http.StatusCreated {
				t.Errorf("afterwards: got %d, want no session", a.status)
			}
		})
	}
}

// Replacing the only API key of an organization, as one does with a leaked one,
// is no loss, whether the new key has the old name or its own.
func TestReplacedAPIKeyIsNoLoss(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{
		"checkout": `"api_keys_added":0,"api_keys_changed":1,"api_keys_removed":0`,
		"till":     `"api_keys_added":1,"api_keys_changed":0,"api_keys_removed":1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newFiles(t, newManifest(t, jwk.ES256))
			file := func(name string) string {
				secret, entry, err := organizations.NewAPIKey(name, []organizations.Scope{organizations.ScopeWrite}, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				o.secret = secret.Reveal()
				return `{"organizations":[{"id":"` + orgID + `","slug":"acme","portal_url":"https://portal.example.com/","api_keys":[` + string(entry) + `]}]}`
			}
			write(t, o.settings.OrganizationsFile, file("checkout"))
			o.start(t, nil)
			leaked := o.secret
			write(t, o.settings.OrganizationsFile, file(name))
			o.await(t, reloaded("organizations", "replaced")+".*"+pattern)
			o.createAny(t)
			if a := o.post(t, leaked, "{}"); a.status != http.StatusUnauthorized {
				t.Errorf("the old key: got %d %s", a.status, a.body)
			}
		})
	}
}

// A server starts with files that are empty, and says that they are.
func TestStartWithEmptyFiles(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	write(t, o.settings.OrganizationsFile, noOrganizations)
	write(t, o.settings.CustomersFile, "\n")
	o.start(t, nil)
	o.await(t, `"msg":"files loaded","manifest_version":1,"keys":2,"organizations":0,"api_keys":0,"customers":0}`)
	warnings := o.operate(t, http.MethodGet, "/readyz").texts(t, "warnings")
	for _, want := range []string{
		"organizations: " + o.settings.OrganizationsFile + " has no organizations",
		"organizations: " + o.settings.OrganizationsFile + " has no API keys",
		"customers: " + o.settings.CustomersFile + " has no customers",
	} {
		o.await(t, `"level":"WARN","msg":"file needs attention","warning":"`+want+`"`)
		if !strings.Contains(strings.Join(warnings, "\n"), want) {
			t.Errorf("the warnings are %q, want %q", warnings, want)
		}
	}
	write(t, o.settings.CustomersFile, customerLines)
	o.await(t, reloaded("customers", "replaced")+`.*"customers_added":8,"customers_changed":0,"customers_removed":0`)
	if a := o.operate(t, http.MethodGet, "/readyz"); strings.Contains(string(a.body), "has no customers") {
		t.Errorf("afterwards: got %s", a.body)
	}
}

// SIGHUP makes the program read its files again at once and ends nothing. It
// cannot bring an unsafe key manifest into use.
func TestServeHangup(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	p := serve(t, i)
	hangup := func() {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	customers := filepath.Join(i.dir, "customers.jsonl")
	write(t, customers, "")
	p.find(t, p.stderr, `"msg":"file refused","file":"(customers)".*SIGHUP`)
	p.public.create(t, `{"customer_id":"`+customerID+`"}`)
	hangup()
	p.find(t, p.stderr, `"msg":"file reloaded","file":"(customers)".*"customers_removed":1`)
	p.find(t, p.stderr, `"level":"WARN","msg":"(file needs attention)","warning":"customers: .* has no customers"`)

	manifest, err := os.ReadFile(filepath.Join(i.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(i.dir, "keys.json"), strings.Replace(string(manifest), `"max_lifetime": "24h`, `"max_lifetime": "23h`, 1))
	hangup()
	p.find(t, p.stderr, `"msg":"file (refused)","file":"keys".*version 1 cannot follow version 1`)
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
		t.Errorf("afterwards /readyz answers %d %s", a.status, a.body)
	}
}
