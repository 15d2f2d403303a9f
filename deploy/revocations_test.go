package deploy_test

import "testing"

// TestRevocationsPage types what the page about the revocation log shows.
func TestRevocationsPage(t *testing.T) {
	t.Parallel()
	rehearseAll(t, []string{"revocations.md"})
}
