package tally_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		var revocations tally.Revocations
		revocations.Announce("announced")
		revocations.Enforce("revoked", now.Add(time.Second))
		revocations.Enforce("long revoked", now)
		refusal := errors.New("no")
		tests := []struct {
			keyID   string
			expires time.Time
			err     error
			want    tally.Verdict
		}{
			{"good", now.Add(time.Second), nil, tally.Right},
			{"good", now.Add(time.Second), refusal, tally.Refused},
			{"good", now, refusal, tally.Right},
			{"announced", now.Add(time.Second), nil, tally.Right},
			{"announced", now.Add(time.Second), refusal, tally.Right},
			{"revoked", now.Add(time.Second), nil, tally.Right},
			{"revoked", now.Add(time.Second), refusal, tally.Right},
			{"long revoked", now.Add(time.Second), nil, tally.Late},
			{"long revoked", now.Add(time.Second), refusal, tally.Right},
		}
		for _, test := range tests {
			got := revocations.Judge(test.keyID, test.expires, now, test.err)
			if got != test.want {
				t.Errorf("key %s, expires in %v, answer %v: got %v, want %v",
					test.keyID, test.expires.Sub(now), test.err, got, test.want)
			}
		}
	})
}
