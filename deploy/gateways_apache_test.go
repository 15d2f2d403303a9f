package deploy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

// apacheModules is where Debian has them.
const apacheModules = "/usr/lib/apache2/modules"

// startApache runs Apache, which fetches the keys every so many seconds.
func startApache(t *testing.T, g *gateway, seconds string) {
	t.Helper()
	program := pageProgram(t, []string{"/usr/sbin/apache2"}, "install apache2", "-v")
	needs.Path(t, apacheModules+"/mod_oauth2.so", "install libapache2-mod-oauth2")
	folder := t.TempDir()
	var modules strings.Builder
	for name := range strings.FieldsSeq("mpm_event authn_core authz_core setenvif proxy proxy_http headers macro oauth2") {
		fmt.Fprintf(&modules, "LoadModule %s_module %s/mod_%s.so\n", name, apacheModules, name)
	}
	writePageFiles(t, folder, map[string]string{
		"portal.conf": gatewayConfig(t, "apache.conf", pageIssuer, g.issuer.URL(), "*:8080", g.address(),
			"http://127.0.0.1:9000", "http://"+g.service, "jwks_uri.expiry=600", "jwks_uri.expiry="+seconds),
		"apache.conf": modules.String() + strings.NewReplacer("FOLDER", folder, "ADDRESS", g.address()).Replace(`
ServerRoot FOLDER
DefaultRuntimeDir FOLDER
PidFile FOLDER/pid
ErrorLog /dev/stderr
LogLevel warn oauth2:debug
User www-data
Group www-data
Listen ADDRESS
Include FOLDER/portal.conf
`),
	})
	g.run(t, folder, program, "-f", folder+"/apache.conf", "-DFOREGROUND")
}

func TestGatewayApacheTokens(t *testing.T) {
	t.Parallel()
	g := newGateway(t, newPageIssuer(t))
	startApache(t, g, "600")
	checkPageTokens(t, g.issuer, g.verdict)
	checkPageConformance(t, "apache", g.issuer, g.verdict)
	if answer, err := g.ask(http.MethodGet, ""); err != nil || answer.status != http.StatusUnauthorized ||
		!strings.HasPrefix(answer.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without a token: got %d %v, %v, want 401 with a challenge", answer.status, answer.header, err)
	}
}

func TestGatewayApacheRotation(t *testing.T) {
	t.Parallel()
	g := newGateway(t, newPageIssuer(t))
	startApache(t, g, "1")
	g.learn = func(*testing.T) {} // it does so after a second
	g.check(t)
	g.issuer.Fail(verifytest.Down)
	// The page says so; 503 would be better.
	g.waitFor(t, refused, g.issuer.Token(verifytest.TokenSpec{}))
}

// A token that was good is not believed for long without another look.
func TestGatewayApacheEnd(t *testing.T) {
	t.Parallel()
	g := newGateway(t, newPageIssuer(t))
	startApache(t, g, "600")
	ends := g.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(3*time.Second - time.Hour)})
	if got := g.verdict(ends); got != accepted {
		t.Errorf("before its end: got %q, want %q", got, accepted)
	}
	g.waitFor(t, refused, ends)
}

// What the page says of keys that Apache does not know, and of an outage.
func TestGatewayApacheKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t, newPageIssuer(t))
	startApache(t, g, "600")
	old := g.issuer.Token(verifytest.TokenSpec{})
	g.issuer.Activate(g.issuer.Publish(jwk.ES256))
	if got := g.verdict(g.issuer.Token(verifytest.TokenSpec{})); got != accepted {
		t.Errorf("a key that signs as soon as it is published: got %q, want %q", got, accepted)
	}
	before := g.issuer.Requests()
	g.issuer.Fail(verifytest.Down)
	for _, token := range []string{old, g.issuer.Token(verifytest.TokenSpec{})} {
		if got := g.verdict(token); got != accepted {
			t.Errorf("without the issuer: got %q, want %q", got, accepted)
		}
	}
	if got := g.issuer.Requests(); got != before {
		t.Errorf("%d requests for keys that are known", got-before)
	}
	forger := verifytest.NewIssuer(t, verifytest.Config{Issuer: g.issuer.URL()})
	for range 10 {
		g.verdict(forger.Token(verifytest.TokenSpec{}))
	}
	if got := g.issuer.Requests() - before; got < 10 {
		t.Errorf("10 unknown keys made %d requests; the page says that each makes one", got)
	}
}
