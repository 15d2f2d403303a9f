package issuer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
)

// Customers of an organization that nobody knows can get no session. That is
// named with the line, at start and at each reload of either file.
func TestCustomersOfUnknownOrganizations(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	line := func(organization, n int) string {
		return fmt.Sprintf(`{"id":"00000000-0000-4000-8000-%012d","organization_id":"00000000-0000-4000-8000-%012d","email":"a@b"}`+"\n", n, organization)
	}
	var text strings.Builder
	text.WriteString(customerLines + line(1, 1) + line(1, 2))
	for n := 2; n <= 12; n++ {
		text.WriteString(line(n, n+1))
	}
	write(t, o.settings.CustomersFile, text.String())
	o.start(t, nil)
	first := "customers: " + o.settings.CustomersFile + ": line 9, column 64: organization 00000000-0000-4000-8000-000000000001" +
		" is not in the organizations file; its customers, 2 here, get no sessions"
	o.await(t, `"level":"WARN","msg":"file needs attention","warning":"`+first)
	warnings := o.operate(t, http.MethodGet, "/readyz").texts(t, "warnings")
	if len(warnings) != 11 || warnings[0] != first || !strings.HasSuffix(warnings[10], ": organizations that are not in the organizations file: 2 more") {
		t.Errorf("got the warnings %q", warnings)
	}
	o.createAny(t)

	added := `{"id":"00000000-0000-4000-8000-000000000001","slug":"late","portal_url":"https://portal.example.com/"}]}`
	write(t, o.settings.OrganizationsFile, strings.TrimSuffix(o.organizations, "]}")+","+added)
	o.await(t, reloaded("organizations", "replaced")+`.*"organizations_added":1`)
	if warnings := o.operate(t, http.MethodGet, "/readyz").texts(t, "warnings"); len(warnings) != 11 || strings.Contains(warnings[0], first) {
		t.Errorf("afterwards got the warnings %q", warnings)
	}
	write(t, o.settings.CustomersFile, customerLines)
	o.await(t, reloaded("customers", "refused")+".*takes away")
	o.server.Reload(t.Context())
	o.await(t, reloaded("customers", "replaced"))
	if a := o.operate(t, http.MethodGet, "/readyz"); string(a.body) != `{"status":"ok"}`+"\n" {
		t.Errorf("in the end: got %s", a.body)
	}
}
