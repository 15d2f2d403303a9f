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
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	needs.Path(t, "testdata/sdk/node_modules", "run npm ci --prefix issuer/testdata/sdk")
	d := startDev(t)
	input, err := json.Marshal(map[string]any{
		"baseURL": d.base, "issuer": d.base, "audience": issuer.DefaultAudience, "apiKey": d.secret,
		"customerID": demo.CustomerID, "externalID": demo.ExternalID, "customerEmail": "ada@example.com",
		"team": map[string]string{
			"customerID": demo.TeamID, "externalID": demo.ExternalTeamID, "customerEmail": "team@example.com",
			"memberID": demo.MemberID, "memberEmail": "gordon@example.com", "role": "billing_manager",
			"externalMemberID": demo.ExternalMemberID,
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
