package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// report prints the table, and is an error when a request failed: figures of a
// server that refuses say nothing.
func report(out io.Writer, results []*result) error {
	var b strings.Builder
	b.WriteString("| | Server | Requests | Failed | Requests/s | p50 | p99 | max |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	var problems []string
	for pair := range slices.Chunk(results, 2) {
		for _, r := range pair {
			r.row(&b)
			problems = append(problems, r.problems()...)
		}
		ratio := func(a, b float64) string { return fmt.Sprintf("%.0f %%", 100*a/b) }
		ours, bare := pair[0], pair[1]
		fmt.Fprintf(&b, "| | **ratio** | | | **%s** | %s | %s | %s |\n", ratio(ours.perSecond(), bare.perSecond()),
			ratio(float64(ours.percentile(50)), float64(bare.percentile(50))),
			ratio(float64(ours.percentile(99)), float64(bare.percentile(99))),
			ratio(float64(ours.percentile(100)), float64(bare.percentile(100))))
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("requests failed: %s", strings.Join(problems, "; "))
	}
	return nil
}

func (r *result) row(b *strings.Builder) {
	failed := 0
	for _, n := range r.failures {
		failed += n
	}
	server := "bare Echo"
	if r.ours {
		server = "this one"
	}
	fmt.Fprintf(b, "| %s | %s | %d | %d | %.0f | %s | %s | %s |\n", r.call, server, len(r.took)+failed, failed,
		r.perSecond(), micros(r.percentile(50)), micros(r.percentile(99)), micros(r.percentile(100)))
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }

// perSecond is of the good answers.
func (r *result) perSecond() float64 { return float64(len(r.took)) / r.turns.Seconds() }

// percentile returns the least time that so many percent of the good answers
// did not exceed, and 0 when there is no good one.
func (r *result) percentile(percent int) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	slices.Sort(r.took)
	return r.took[max((len(r.took)*percent+99)/100, 1)-1]
}

// problems says what failed, and what to do about it where that is known.
func (r *result) problems() []string {
	var problems []string
	for _, status := range slices.Sorted(maps.Keys(r.failures)) {
		text := fmt.Sprintf("%s: %d answered %d", r.call, r.failures[status], status)
		switch status {
		case 0:
			text = fmt.Sprintf("%s: %d had no answer", r.call, r.failures[status])
		case 429:
			text += " (start the server with CUSTOMERSESSION_KEY_RATE=0, or use a lower --rate)"
		}
		problems = append(problems, text)
	}
	return problems
}
