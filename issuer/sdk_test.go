package issuer_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/demo"
)

// TestSDK runs three published releases of Polar's SDK, and jose, against the
// running command: see testdata/sdk.
func TestSDK(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	checkSDK(t, d.base, d.secret, "token")
}

// TestSDKCodes does the same where links hold codes: the answers still have the
// token.
func TestSDKCodes(t *testing.T) {
	t.Parallel()
	const lines = `{"id":"` + demo.CustomerID + `","organization_id":"` + orgID + `","external_id":"` + demo.ExternalID + `","email":"ada@example.com","name":"Ada Lovelace","created_at":"2026-01-15T09:00:00Z"}
{"id":"` + demo.TeamID + `","organization_id":"` + orgID + `","external_id":"` + demo.ExternalTeamID + `","type":"team","email":"team@example.com","name":"Bletchley Park","members":[{"id":"` + demo.MemberID + `","email":"gordon@example.com","role":"billing_manager"},{"id":"` + colleagueID + `","external_id":"` + demo.ExternalMemberID + `","email":"joan@example.com","role":"member"}]}
`
	f := newFixture(t, withCodes(), func(o *fixtureOptions) {
		directory := newSwitch(newDirectory(t))
		directory.use(t, lines)
		o.directory = directory
	})
	checkSDK(t, f.base, f.secret, "code")
}

func checkSDK(t *testing.T, base, secret, link string) {
	t.Helper()
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	needs.Path(t, "testdata/sdk/node_modules", "run npm ci --prefix issuer/testdata/sdk")
	input, err := json.Marshal(map[string]any{
		"baseURL": base, "issuer": base, "audience": issuer.DefaultAudience, "apiKey": secret, "link": link,
		"customerID": demo.CustomerID, "externalID": demo.ExternalID, "customerEmail": "ada@example.com",
		"team": map[string]string{
			"customerID": demo.TeamID, "externalID": demo.ExternalTeamID, "customerEmail": "team@example.com",
			"memberID": demo.MemberID, "memberEmail": "gordon@example.com", "role": "billing_manager",
			"externalMemberID": demo.ExternalMemberID, "link": link,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), node, "check.mjs")
	check.Dir = "testdata/sdk"
	check.Stdin = strings.NewReader(string(input))
	output, err := check.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if passed := strings.Count(string(output), "ok "); passed < 75 {
		t.Errorf("only %d checks ran:\n%s", passed, output)
	}
}
