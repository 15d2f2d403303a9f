package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A row is one line of the table and one bar of the chart: a contestant in one
// of the benchmarks.
type row struct {
	label     string
	benchmark string
	name      string
	kind      kind
}

type kind int

const (
	peer kind = iota
	ours
	raw
)

// algorithms are the columns of the table, and the panels of the chart.
func algorithms() []string { return []string{"ES256", "EdDSA", "RS256"} }

// rows returns them from the least work to the most, peers by their time.
func rows(r results) []row {
	peers := []row{
		{"golang-jwt v5 + keyfunc v3", "First", "keyfunc", peer},
		{"lestrrat-go/jwx v3", "First", "jwx", peer},
		{"go-jose v4", "First", "go-jose", peer},
		{"coreos/go-oidc v3", "First", "go-oidc", peer},
	}
	slices.SortStableFunc(peers, func(a, b row) int {
		first, _ := a.time(r, "ES256")
		second, _ := b.time(r, "ES256")
		return int(first - second)
	})
	return append([]row{
		{"verify, token seen before", "Again", "ours", ours},
		{"signature check alone", "First", "raw", raw},
		{"verify, new token", "First", "ours", ours},
	}, peers...)
}

// time returns nanoseconds for a token.
func (w row) time(r results, algorithm string) (float64, bool) {
	return r.figure(w.benchmark+"/"+algorithm, w.name+"-ns/token")
}

// table writes everything that is known as Markdown.
func table(r results) []byte {
	var b bytes.Buffer
	b.WriteString("| Time for a token, allocations | " + strings.Join(algorithms(), " | ") + " |\n|---|" +
		strings.Repeat("---:|", len(algorithms())) + "\n")
	for _, w := range append(rows(r), row{"verify, new token, cache off", "First", "uncached", ours}) {
		label := w.label
		if w.kind == ours {
			label = "**" + label + "**"
		}
		cells := []string{label}
		for _, algorithm := range algorithms() {
			cells = append(cells, cell(r, w, algorithm))
		}
		writeRow(&b, cells)
	}
	cells := []string{"seen before, against the fastest peer"}
	for _, algorithm := range algorithms() {
		times, _ := r.figure("Again/"+algorithm, "x-fastest-peer")
		cells = append(cells, fmt.Sprintf("%.0f times faster", times))
	}
	writeRow(&b, cells)
	writeParallel(&b, r)
	writeGarbage(&b, r)
	fmt.Fprintf(&b, "\nMeasured on %s, %s/%s.\n", r.environment["cpu"], r.environment["goos"], r.environment["goarch"])
	return b.Bytes()
}

func writeRow(b *bytes.Buffer, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// cell is one contestant's figures for one algorithm, in bold as the share of
// the primitive's time where that makes sense.
func cell(r results, w row, algorithm string) string {
	ns, ok := w.time(r, algorithm)
	if !ok {
		return "–"
	}
	text := duration(ns)
	if share, ok := r.figure(w.benchmark+"/"+algorithm, w.name+"-%-of-raw"); ok {
		text += fmt.Sprintf(" (%+.1f %%)", share-100)
	}
	allocations, _ := r.figure(w.benchmark+"/"+algorithm, w.name+"-allocs/token")
	return text + ", " + count(allocations)
}

// writeParallel tells how the token cache does on several processors.
func writeParallel(b *bytes.Buffer, r results) {
	one, ok := r.figure("AgainParallel", "one-ns/token")
	if !ok {
		return
	}
	all, _ := r.figure("AgainParallel", "all-ns/token")
	times, _ := r.figure("AgainParallel", "x-one")
	fmt.Fprintf(b, "\nTokens seen before, on all processors at once: %s a token instead of %s on one of them, %.1f times as many.\n",
		duration(all), duration(one), times)
}

// writeGarbage is a second table: what bad tokens cost.
func writeGarbage(b *bytes.Buffer, r results) {
	kinds := r.below("Garbage")
	if len(kinds) == 0 {
		return
	}
	b.WriteString("\n| Refusing garbage | " + strings.Join(kinds, " | ") + " |\n|---|" + strings.Repeat("---:|", len(kinds)) + "\n")
	for _, w := range rows(r) {
		if w.kind == raw || w.benchmark == "Again" {
			continue
		}
		label := w.label
		if w.kind == ours {
			label = "**verify**"
		}
		cells := []string{label}
		for _, kind := range kinds {
			ns, _ := r.figure("Garbage/"+kind, w.name+"-ns/token")
			allocations, _ := r.figure("Garbage/"+kind, w.name+"-allocs/token")
			cells = append(cells, duration(ns)+", "+count(allocations))
		}
		writeRow(b, cells)
	}
}

// duration writes nanoseconds for people.
func duration(ns float64) string {
	switch {
	case ns < 1000:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	default:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
}

// count rounds allocations: memory is often taken for several tokens at once.
func count(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }
