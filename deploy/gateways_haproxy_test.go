package deploy_test

import (
	"testing"

	"github.com/customersession/customersession/verify/verifytest"
)

// HAProxy is configured as verifying.md says, where other tests show which
// tokens it lets through. Here it is reloaded under load.
func TestGatewayHAProxyRotation(t *testing.T) {
	t.Parallel()
	g := newGateway(t, newPageIssuer(t))
	proxy := startProxyFor(t, g.issuer, g.service)
	g.url, g.client = "http://portal.example.com/account", proxy.client
	g.learn = func(t *testing.T) {
		t.Helper()
		if err := proxy.update(); err != nil {
			t.Fatal(err)
		}
	}
	g.waitFor(t, accepted, g.issuer.Token(verifytest.TokenSpec{}))
	g.check(t)
}
