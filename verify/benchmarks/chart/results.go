package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// results are the figures of all benchmarks: by the benchmark's name without
// "Benchmark", then by unit. A benchmark that ran more than once has more than
// one figure.
type results struct {
	figures map[string]map[string][]float64
	// environment are the lines that say where the benchmarks ran, by key.
	environment map[string]string
}

var errNoResults = errors.New("input has no benchmark results; did the benchmarks fail?")

// parse reads the format of "go test -bench", documented at
// https://go.dev/design/14313-benchmark-format.
func parse(input io.Reader) (results, error) {
	r := results{figures: map[string]map[string][]float64{}, environment: map[string]string{}}
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if key, value, ok := strings.Cut(line, ": "); ok && !strings.ContainsAny(key, " \t") {
			r.environment[key] = value
			continue
		}
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		if err := r.add(strings.Fields(line)); err != nil {
			return results{}, fmt.Errorf("%w in line %q", err, line)
		}
	}
	if err := lines.Err(); err != nil {
		return results{}, err
	}
	if len(r.figures) == 0 {
		return results{}, errNoResults
	}
	return r, nil
}

// add takes in one line: a name, the number of iterations, and pairs of a
// figure and its unit.
func (r results) add(fields []string) error {
	if len(fields) < 4 || len(fields)%2 != 0 {
		return errors.New("odd number of fields")
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if r.figures[name] == nil {
		r.figures[name] = map[string][]float64{}
	}
	for i := 2; i < len(fields); i += 2 {
		figure, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		unit := fields[i+1]
		r.figures[name][unit] = append(r.figures[name][unit], figure)
	}
	return nil
}

// processors cuts the "-2" off a benchmark's name that tells how many
// processors it used; 1 is not written.
func processors(name string) (bare string, n int) {
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return name, 1
	}
	n, err := strconv.Atoi(name[cut+1:])
	if err != nil {
		return name, 1
	}
	return name[:cut], n
}

// figure returns the median of a benchmark's figures in a unit, of the run
// with the most processors; ok is false when there is none.
func (r results) figure(benchmark, unit string) (median float64, ok bool) {
	most := 0
	for name, units := range r.figures {
		bare, n := processors(name)
		if bare == benchmark && n > most && len(units[unit]) > 0 {
			most = n
			median, ok = middle(units[unit]), true
		}
	}
	return median, ok
}

// below returns the names of a benchmark's sub-benchmarks, sorted.
func (r results) below(benchmark string) []string {
	names := map[string]bool{}
	for name := range r.figures {
		bare, _ := processors(name)
		if rest, ok := strings.CutPrefix(bare, benchmark+"/"); ok {
			names[rest] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func middle(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
