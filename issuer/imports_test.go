package issuer_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/customersession/customersession"

// TestImports is a statement of policy: what each package may bring along.
// Packages that others import stay light, imports go downward only, and code
// that handles private keys never reaches a verifier.
func TestImports(t *testing.T) {
	t.Parallel()
	const jwk = module + "/keys/jwk"
	for pkg, allowed := range map[string][]string{
		"keys/jwk/ijson":                {},
		"keys/jwk":                      {jwk},
		"keys":                          {jwk},
		"verify/wire":                   {},
		"verify":                        {jwk, module + "/verify/", "github.com/golang-jwt/jwt/v5"},
		"verify/echoverify":             {jwk, module + "/verify", "github.com/golang-jwt/jwt/v5", "github.com/labstack/", "github.com/valyala/", "github.com/mattn/", "golang.org/x/"},
		"verify/promverify":             {jwk, module + "/verify", "github.com/golang-jwt/jwt/v5", "github.com/prometheus/", "github.com/beorn7/", "github.com/cespare/", "github.com/munnerz/", "google.golang.org/protobuf/", "go.yaml.in/", "golang.org/x/"},
		"verify/authz":                  {jwk, module + "/verify", "github.com/golang-jwt/jwt/v5", "github.com/spf13/", "github.com/prometheus/", "github.com/beorn7/", "github.com/cespare/", "github.com/munnerz/", "google.golang.org/protobuf/", "go.yaml.in/", "golang.org/x/"},
		"verify/verifytest":             {jwk, module + "/verify", "github.com/golang-jwt/jwt/v5"},
		"issuer/internal/customers":     {jwk, module + "/issuer/internal/jsontext", module + "/issuer/internal/secret", module + "/issuer/internal/loopback", module + "/issuer/internal/remote", "github.com/google/uuid", "github.com/jackc/", "github.com/sony/gobreaker/v2", "golang.org/x/"},
		"issuer/internal/organizations": {jwk, module + "/issuer/internal/secret", module + "/issuer/internal/loopback", module + "/issuer/internal/weburl", "github.com/google/uuid", "github.com/yosida95/uritemplate/v3", "github.com/nlnwa/whatwg-url/", "github.com/bits-and-blooms/bitset", "golang.org/x/"},
		"issuer/internal/orgfile":       {jwk, module + "/issuer/internal/organizations", module + "/issuer/internal/secret", module + "/issuer/internal/loopback", "github.com/google/uuid", "github.com/yosida95/uritemplate/v3", "github.com/tailscale/hujson", "github.com/google/renameio/v2", "github.com/gofrs/flock", module + "/issuer/internal/weburl", "github.com/nlnwa/whatwg-url/", "github.com/bits-and-blooms/bitset", "golang.org/x/"},
		"issuer/internal/reload":        {},
		"issuer/internal/fileaccess":    {},
		"issuer/internal/loopback":      {},
		"issuer/internal/logwriter":     {},
		"issuer/internal/remote":        {module + "/issuer/internal/secret", module + "/issuer/internal/loopback", "github.com/jackc/", "golang.org/x/"},
		"issuer/internal/secret":        {},
		"issuer/internal/jsontext":      {jwk, "github.com/google/uuid"},
		"issuer/internal/ratelimit":     {"golang.org/x/time/rate"},
		"issuer/internal/connections":   {module + "/issuer/internal/ratelimit", "golang.org/x/time/rate"},
		"issuer/internal/feed":          {module + "/verify/wire", module + "/issuer/internal/revocations", module + "/issuer/internal/remote", module + "/issuer/internal/loopback", module + "/issuer/internal/secret", "github.com/google/uuid", "github.com/gofrs/flock", "github.com/jackc/", "golang.org/x/"},
		"issuer/internal/release":       {},
		"issuer/internal/revocations":   {module + "/verify/wire", module + "/issuer/internal/remote", module + "/issuer/internal/loopback", module + "/issuer/internal/secret", "github.com/google/uuid", "github.com/gofrs/flock", "github.com/jackc/", "golang.org/x/"},
		"issuer/internal/webhook":       {module + "/issuer/internal/remote", module + "/issuer/internal/loopback", module + "/issuer/internal/secret", "github.com/google/uuid", "github.com/jackc/", "golang.org/x/"},
		"issuer/internal/weburl":        {"github.com/nlnwa/whatwg-url/", "github.com/bits-and-blooms/bitset", "golang.org/x/"},
		// The exporter over HTTP brings gRPC along, which it does not use: its
		// options are generated for both.
		"issuer/internal/tracing": {module + "/issuer/internal/loopback", module + "/issuer/internal/secret", "go.opentelemetry.io/", "github.com/go-logr/", "github.com/cespare/xxhash/v2", "github.com/google/uuid", "golang.org/x/", "google.golang.org/", "github.com/cenkalti/backoff/v5", "github.com/grpc-ecosystem/grpc-gateway/v2/"},
	} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			for _, imported := range dependencies(t, pkg) {
				if imported != module+"/"+pkg && !hasAnyPrefix(imported, allowed) {
					t.Errorf("%s brings along %s", pkg, imported)
				}
			}
		})
	}
	for _, imported := range dependencies(t, "issuer") {
		if imported == module || strings.HasPrefix(imported, module+"/verify/") &&
			!hasAnyPrefix(imported, []string{module + "/verify/wire", module + "/verify/internal/"}) {
			t.Errorf("issuer brings along %s", imported)
		}
	}
}

// dependencies returns what a package needs beyond the standard library.
func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/"+pkg)
	output, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return strings.Fields(string(output))
}

func hasAnyPrefix(text string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
