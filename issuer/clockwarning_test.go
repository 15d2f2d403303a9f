package issuer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// A skewedLog has a clock that is ahead.
type skewedLog struct {
	revocations.Log

	ahead time.Duration
}

// Read implements [revocations.Log].
func (l *skewedLog) Read(ctx context.Context, after revocations.Position) (revocations.Page, error) {
	page, err := l.Log.Read(ctx, after)
	page.Clock = page.Clock.Add(l.ahead)
	return page, err
}

// A clock that is more than a second away from the log's is a warning and a metric.
func TestClockWarning(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ahead time.Duration
		warns bool
	}{"right": {0, false}, "a little ahead": {900 * time.Millisecond, false}, "ahead": {2 * time.Second, true}, "behind": {-2 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, withLog(&skewedLog{revocations.NewMemory(), test.ahead}))
			f.feed(t, "")
			if ready := string(f.operationsGet(t, "/readyz")); strings.Contains(ready, "revocation log: its clock") != test.warns {
				t.Errorf("readiness: %s", ready)
			}
			ahead := samples(t, f.operationsGet(t, "/metrics"), "customersession_revocation_log_clock_")["ahead_seconds"]
			if strings.HasPrefix(ahead, "1.9") != (test.ahead > time.Second) || strings.HasPrefix(ahead, "-1.9") != (test.ahead < 0) {
				t.Errorf("the metric is %s", ahead)
			}
		})
	}
}
