package kube_test

import (
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/kube"
)

// Who reads why a test failed must find what the API server said.
func TestServeSaysWhy(t *testing.T) {
	t.Parallel()
	cluster := kube.StartForTest(t, "../../../.ci/cache")
	never := func() bool { return false }
	_, err := cluster.Serve(kube.FreeAddress(), never, "--no-such-flag")
	if err == nil || !strings.Contains(err.Error(), "has ended") || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got %v, want that it has ended for an unknown flag", err)
	}
}
