//go:build unix

package issuer_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A server does not start with a file that everyone may change, and names all of
// them.
func TestWritableFilesAtStart(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.CustomersTokenFile = filepath.Join(t.TempDir(), "token")
	write(t, o.settings.CustomersTokenFile, "token")
	chmod(t, o.settings.KeysFile, 0o666)
	chmod(t, filepath.Dir(o.settings.OrganizationsFile), 0o777)
	chmod(t, o.settings.CustomersFile, 0o602)
	chmod(t, o.settings.CustomersTokenFile, 0o646)
	_, err := issuer.Open(t.Context(), o.settings, nil, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{
		"loading key manifest: loading .*keys.json has mode 0666: everyone may change it; run chmod o-w on it, or mount it read-only",
		"loading organizations: .* has mode 0777: everyone may change it",
		"loading customers: .*customers.jsonl has mode 0602: everyone may change it",
		"CUSTOMERSESSION_CUSTOMERS_TOKEN_FILE: .*token has mode 0646: everyone may change it",
	} {
		if !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A version that everyone may change is refused, and the one in use stays.
func TestWritableFilesLater(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.start(t, nil)
	write(t, o.settings.OrganizationsFile, strings.ReplaceAll(o.organizations, "https://portal.example.com/", "https://evil.example.com/"))
	chmod(t, o.settings.OrganizationsFile, 0o606)
	o.await(t, reloaded("organizations", "refused")+".*has mode 0606: everyone may change it")
	if got := o.createAny(t).text(t, "customer_portal_url"); !strings.HasPrefix(got, "https://portal.example.com/") {
		t.Errorf("the link leads to %s", got)
	}
	write(t, o.settings.OrganizationsFile, o.organizations)
	chmod(t, o.settings.OrganizationsFile, 0o600)
	o.await(t, reloaded("organizations", "restored"))
}

// Secrets that everyone may read are a warning, as Kubernetes mounts them so. A
// file of customers is not one of them.
func TestReadableFiles(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.CustomersTokenFile = filepath.Join(t.TempDir(), "token")
	write(t, o.settings.CustomersTokenFile, "token")
	for _, path := range []string{o.settings.KeysFile, o.settings.OrganizationsFile, o.settings.CustomersFile, o.settings.CustomersTokenFile} {
		chmod(t, path, 0o644)
	}
	o.start(t, nil)
	const reason = "everyone may read it, as its mode is 0644"
	for _, want := range []string{
		"key manifest: " + o.settings.KeysFile + ": " + reason,
		"organizations: " + o.settings.OrganizationsFile + ": " + reason,
		"CUSTOMERSESSION_CUSTOMERS_TOKEN_FILE: " + o.settings.CustomersTokenFile + ": " + reason,
	} {
		o.await(t, `"level":"WARN","msg":"file needs attention","warning":"`+want)
		if got := o.operate(t, http.MethodGet, "/readyz").texts(t, "warnings"); len(got) != 3 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("the warnings are %q, want three with %q", got, want)
		}
	}
	chmod(t, o.settings.KeysFile, 0o640)
	if got := o.operate(t, http.MethodGet, "/readyz").texts(t, "warnings"); len(got) != 2 {
		t.Errorf("afterwards the warnings are %q, want two", got)
	}
}

// A manifest without private keys is for everyone to read.
func TestReadableKeysOfADevice(t *testing.T) {
	t.Parallel()
	manifest, d := newManifest(t, jwk.ES256), &device{}
	d.take(t, manifest)
	o := newFiles(t, manifest)
	chmod(t, o.settings.KeysFile, 0o644)
	o.start(t, d.open)
	if a := o.operate(t, http.MethodGet, "/readyz"); strings.Contains(string(a.body), "warnings") {
		t.Errorf("got %s, want no warning", a.body)
	}
}
