package scaling_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

var update = flag.Bool("update", false, "write the tables of ../scaling.md")

const (
	page        = "../scaling.md"
	loadBegin   = "<!-- made by go test ./deploy/scaling -run TestPage -update -->\n"
	sizingBegin = "<!-- made by go test ./deploy/scaling -run TestPage -update: sizing -->\n"
	tableEnd    = "<!-- end -->\n"

	// What the page says that one costs, at most.
	sessionCost = 250 * time.Microsecond
	setCost     = 140 * time.Microsecond
	feedCost    = 240 * time.Microsecond
)

// The page has what the model says.
func TestPage(t *testing.T) {
	t.Parallel()
	if needs.Race() {
		t.Skip("a hundred thousand consumers take minutes with the race detector, and nothing here is concurrent")
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(content)
	outcomes := simulateAll(scenarios(t))
	want := replaceTable(t, got, loadBegin, loadTable(outcomes))
	want = replaceTable(t, want, sizingBegin, sizingTable(outcomes))
	want = replaceTable(t, want, feedBegin, feedTable())
	want = replaceTable(t, want, crowdsBegin, crowdsTable())
	switch {
	case got == want:
	case *update:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the model says: run the test with -update, and read what the page says about it; want\n%s", page, want)
	}
}

func replaceTable(t *testing.T, text, begin, table string) string {
	t.Helper()
	before, rest, begun := strings.Cut(text, begin)
	_, rest, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for a table that begins with %s", page, begin)
	}
	return before + begin + table + tableEnd + rest
}

// An outcome is what consumers ask in a scenario, by their number.
type outcome struct {
	*scenario
	counts map[int]*tally
}

// simulateAll uses all processors.
func simulateAll(all []*scenario) []outcome {
	outcomes := make([]outcome, len(all))
	var running sync.WaitGroup
	for i, s := range all {
		running.Go(func() {
			outcomes[i] = outcome{s, map[int]*tally{}}
			for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
				outcomes[i].counts[n] = simulate(s, n, seed)
			}
		})
	}
	running.Wait()
	return outcomes
}

// loadTable has a row for each window of each scenario.
func loadTable(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString("| | For one consumer | 10: peak | 1,000: peak | 100,000: peak | 100,000: mean | 100,000: peak bytes/s |\n" +
		"|---|---:|---:|---:|---:|---:|---:|\n")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "| **%s** | | | | | | |\n", o.name)
		for _, w := range o.windows {
			l := o.counts[100_000].load(w)
			fmt.Fprintf(&b, "| %s | %.2f | %s | %s | %s | %s | %s |\n", w.label, float64(l.requests)/100_000,
				grouped(o.counts[10].load(w).peak), grouped(o.counts[1_000].load(w).peak), grouped(l.peak),
				grouped(l.requests/int(w.until.Sub(w.from)/time.Second)), grouped(l.bytesPeak))
		}
	}
	return b.String()
}

// sizingTable has the cores for some installations.
func sizingTable(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString("| Consumers | Worst second | Sessions a second | Cores | with one revocation a second |\n|---:|---:|---:|---:|---:|\n")
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		worst, followed := worstSecond(outcomes, n), oneASecond(feedReplicas(n))
		answers := simulateFeed(followed, n, seed).load(followed.windows[0]).requests / 60
		for _, sessions := range []int{100, 1_000, 5_000} {
			used := float64(sessions)*sessionCost.Seconds() + float64(worst)*setCost.Seconds()
			fmt.Fprintf(&b, "| %s | %s | %s | %.1f | %.1f |\n", grouped(n), grouped(worst), grouped(sessions),
				math.Ceil(20*used)/10, math.Ceil(20*(used+float64(answers)*feedCost.Seconds()))/10)
		}
	}
	return b.String()
}

// worstSecond leaves out what is not planned for, and requests that nobody is
// there to answer.
func worstSecond(outcomes []outcome, n int) (worst int) {
	for _, o := range outcomes {
		for _, w := range o.windows {
			if l := o.counts[n].load(w); !o.avoidable && l.bytes > 0 {
				worst = max(worst, l.peak)
			}
		}
	}
	return worst
}

// grouped writes a number with a comma for every thousand.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
