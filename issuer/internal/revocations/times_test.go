package revocations_test

import (
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// The model of package verify/internal/revocations proves that no session lives
// after its entry was dropped, and that none lives that was issued before it was
// ended, with these sums.
func TestTimesOfTheModel(t *testing.T) {
	t.Parallel()
	const (
		lifetime = 24 * time.Hour  // the longest that an issuer can be set to
		leeway   = 5 * time.Minute // the largest that a verifier can be set to
		skew     = 5 * time.Minute // the largest of a key policy
	)
	if revocations.Retention < lifetime+leeway+2*skew {
		t.Errorf("entries are kept for %v, want at least %v", revocations.Retention, lifetime+leeway+2*skew)
	}
	second := time.Unix(1_900_000_000, 0)
	for after, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, time.Nanosecond: 3 * time.Second, 500 * time.Millisecond: 3 * time.Second, time.Second: 3 * time.Second,
	} {
		if got := revocations.IssuedBefore(second.Add(after)).Sub(second); got != want {
			t.Errorf("%v after a second: issued_before is %v after it, want %v", after, got, want)
		}
	}
}
