package tally_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
)

// good is a load with which nothing is wrong.
func good(act *tally.Act) {
	act.Create(tally.Created, 1, 20*time.Millisecond)
	act.Verify(tally.Right, time.Millisecond)
}

func TestErr(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		outage bool
		happen func(*tally.Act)
		want   string
	}{
		"nothing wrong":             {happen: good},
		"tried again":               {happen: func(a *tally.Act) { good(a); a.Create(tally.Created, 3, time.Second) }},
		"no load":                   {happen: func(*tally.Act) {}, want: "act: there was no load"},
		"failed":                    {outage: true, happen: func(a *tally.Act) { good(a); a.Create(tally.Failed, 1, 0) }, want: "act: 1 creates failed"},
		"unavailable":               {happen: func(a *tally.Act) { good(a); a.Create(tally.Unavailable, 3, 0) }, want: "act: 1 creates were answered with 503"},
		"unavailable in an outage":  {outage: true, happen: func(a *tally.Act) { good(a); a.Create(tally.Unavailable, 3, 0) }},
		"refused":                   {outage: true, happen: func(a *tally.Act) { good(a); a.Verify(tally.Refused, 0) }, want: "act: 1 valid tokens were refused"},
		"revoked and accepted late": {outage: true, happen: func(a *tally.Act) { good(a); a.Verify(tally.Late, 0) }, want: "act: 1 tokens of a revoked key were accepted too late"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counts := tally.New("before")
			good(counts.Act())
			counts.Begin("act", test.outage)
			test.happen(counts.Act())
			var got string
			if err := counts.Err(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWriteTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counts := tally.New("calm")
		good(counts.Act())
		before := counts.Act()
		time.Sleep(time.Minute)
		counts.Begin("storm", true)
		time.Sleep(30 * time.Second)
		before.Create(tally.Created, 2, 3*time.Second) // ends late, counts where it began
		counts.Act().Create(tally.Unavailable, 3, 9*time.Second)
		counts.Act().Verify(tally.Late, 4*time.Millisecond)
		counts.End()
		time.Sleep(time.Hour)
		counts.End()

		var table strings.Builder
		if err := counts.WriteTable(&table); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(table.String(), "---:|\n")
		want := "| calm | 1m0s | 2 | 1 | 0 | 0 | 3s | 1 | 0 | 0 | 1ms |\n" +
			"| storm | 30s | 1 | 2 | 1 | 0 | 0s | 1 | 0 | 1 | 4ms |\n"
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}
