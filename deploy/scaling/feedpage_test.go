package scaling_test

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	feedBegin   = "<!-- made by go test ./deploy/scaling -run TestPage -update: feed -->\n"
	crowdsBegin = "<!-- made by go test ./deploy/scaling -run TestPage -update: crowds -->\n"
)

// feedTable has a row for each window of each scenario.
func feedTable() string {
	numbers := []int{10, 1_000, 100_000}
	counts := make([][]*tally, len(numbers))
	var running sync.WaitGroup
	for i, n := range numbers {
		running.Go(func() {
			for _, s := range feedScenarios(feedReplicas(n)) {
				counts[i] = append(counts[i], simulateFeed(s, n, seed))
			}
		})
	}
	running.Wait()
	var b strings.Builder
	b.WriteString("| | For one consumer | 10: peak | 1,000: peak | 100,000: peak | 100,000: mean | 100,000: peak MB/s | The last one knows after |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for i, s := range feedScenarios(feedReplicas(100_000)) {
		fmt.Fprintf(&b, "| **%s** | | | | | | | |\n", s.name)
		for _, w := range s.windows {
			l := counts[2][i].load(w)
			seconds := int(w.until.Sub(w.from) / time.Second)
			fmt.Fprintf(&b, "| %s | %.2f | %s | %s | %s | %s | %s | %s |\n", w.label, float64(l.requests)/100_000,
				grouped(counts[0][i].load(w).peak), grouped(counts[1][i].load(w).peak), grouped(l.peak),
				grouped(l.requests/seconds), megabytes(l.bytesPeak), longest(l))
		}
	}
	return b.String()
}

// crowdsTable has a row for each crowd.
func crowdsTable() string {
	var b strings.Builder
	b.WriteString("| Consumers | Replicas | Requests a second for a replica | Peak | Know within 2 s | The last one knows after | The last one has started after |\n" +
		"|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, c := range crowds() {
		w := c.following.windows[0]
		l := simulateFeed(c.following, c.consumers, seed).load(w)
		starting := simulateFeed(c.starting, c.consumers, seed).load(c.starting.windows[0])
		label := grouped(c.consumers)
		if c.following.sharing > 1 {
			label += " behind one address"
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %.1f %% | %s | %s |\n", label, c.following.replicas,
			grouped(l.requests/int(w.until.Sub(w.from)/time.Second)/c.following.replicas), grouped(l.peak/c.following.replicas),
			100*float64(l.prompt)/float64(l.news), longest(l), longest(starting))
	}
	return b.String()
}

func longest(l load) string {
	if l.news == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f s", l.longest.Seconds())
}

func megabytes(n int) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%.1f", float64(n)/1e6)
	}
	return grouped(n / 1_000_000)
}
