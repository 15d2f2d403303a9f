package issuer_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

// TestRevokeTimes: what is issued until now ends, and every consumer refuses it
// after the maximum age in force.
func TestRevokeTimes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if p := start(t, nil, "revocations", "init", "--file", path); p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	before := time.Now()
	p := start(t, []string{"CUSTOMERSESSION_REVOCATIONS_MAX_AGE=20m"}, "revoke", "organization", "1dbfc517-0bbf-4301-9ba8-555ca42b9737", "--file", path, "--json")
	if code := p.wait(t); code != 0 {
		t.Fatal(p.stderr)
	}
	after := time.Now()
	var ended struct {
		RevokedAt    time.Time `json:"revoked_at"`
		IssuedBefore time.Time `json:"issued_before"`
		EffectiveBy  time.Time `json:"effective_by"`
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &ended); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ got, from, to time.Time }{
		"revoked_at":    {ended.RevokedAt, before.Add(-time.Second), after},
		"issued_before": {ended.IssuedBefore, before.Add(2 * time.Second), after.Add(3 * time.Second)},
		"effective_by":  {ended.EffectiveBy, before.Add(20 * time.Minute), after.Add(20*time.Minute + time.Second)},
	} {
		if test.got.Before(test.from) || test.got.After(test.to) {
			t.Errorf("%s is %v, want %v to %v", name, test.got, test.from, test.to)
		}
	}
}
