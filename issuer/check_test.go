package issuer_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// askable is a directory that depends on a remote.
type askable struct {
	customers.Directory
	err error
}

func (a askable) Check(context.Context) error { return a.err }

// A check asks the neighbour that has the customers, and fails if that cannot
// answer.
func TestCheckAsksTheDirectory(t *testing.T) {
	t.Parallel()
	away := errors.New("table customers is missing")
	for _, test := range []struct {
		name      string
		directory customers.Directory
		err       error
		answers   bool
	}{
		{"in memory", newDirectory(t), nil, false},
		{"answers", askable{newDirectory(t), nil}, nil, true},
		{"does not", askable{newDirectory(t), away}, away, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.directory = test.directory })
			var found strings.Builder
			err := f.server.Check(t.Context(), &found)
			if !errors.Is(err, test.err) || err != nil && !strings.HasPrefix(err.Error(), "asking the customer directory: ") {
				t.Errorf("got the error %v, want %v", err, test.err)
			}
			if got := strings.Contains(found.String(), "the directory answers"); got != test.answers {
				t.Errorf("it found %q", &found)
			}
		})
	}
}
