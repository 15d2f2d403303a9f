package verifytest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// feedConformance returns a run against a verifier of this module.
func feedConformance(t *testing.T, change func(*verify.Config)) verifytest.Conformance {
	t.Helper()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	config := issuer.Config()
	change(&config)
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return verifytest.Conformance{Issuer: issuer, Verify: func(ctx context.Context, token string) error {
		_, err := v.Verify(ctx, token)
		return err
	}}
}

// The verifier of this module passes.
func TestRunRevocations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feedConformance(t, func(*verify.Config) {}).RunRevocations(t)
	})
}

// One that is careless does not.
func TestCheckRevocationsFinds(t *testing.T) {
	t.Parallel()
	cases := func(err error) int {
		if err == nil {
			return 0
		}
		return strings.Count(err.Error(), "feed-")
	}
	synctest.Test(t, func(t *testing.T) {
		deaf := feedConformance(t, func(config *verify.Config) { config.MaxRevocationAge = -1 })
		if err := deaf.CheckRevocations(t.Context()); cases(err) != 13 {
			t.Errorf("one that does not follow: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		run := feedConformance(t, func(*verify.Config) {})
		good := run.Verify
		calls := 0
		run.Verify = func(ctx context.Context, token string) error {
			if calls++; calls%7 == 0 {
				return nil // now and then anything passes
			}
			return good(ctx, token)
		}
		if err := run.CheckRevocations(t.Context()); cases(err) == 0 {
			t.Error("one that is forgetful passes")
		}
	})
}
