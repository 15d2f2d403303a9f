package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `goos: linux
goarch: amd64
pkg: example.com/benchmarks
cpu: Example <1>
BenchmarkFirst/ES256-2   100  50000 raw-ns/token  21 raw-allocs/token  52000 ours-ns/token  104 ours-%-of-raw  25.9 ours-allocs/token  60000 keyfunc-ns/token  120 keyfunc-%-of-raw  79 keyfunc-allocs/token
BenchmarkFirst/ES256-2   100  50200 raw-ns/token  21 raw-allocs/token  53000 ours-ns/token  106 ours-%-of-raw  26.1 ours-allocs/token  60200 keyfunc-ns/token  121 keyfunc-%-of-raw  79 keyfunc-allocs/token
BenchmarkFirst/ES256     100  90000 raw-ns/token  21 raw-allocs/token
BenchmarkAgain/ES256-2   100  250 ours-ns/token  0.016 ours-allocs/token  240.4 x-fastest-peer
BenchmarkAgainParallel-2 100  250 one-ns/token  130 all-ns/token  1.92 x-one
BenchmarkGarbage/dots-2  100  80 ours-ns/token  0 ours-allocs/token  1500000 keyfunc-ns/token  7 keyfunc-allocs/token
PASS
`

func TestTable(t *testing.T) {
	t.Parallel()
	var stdout strings.Builder
	if err := run(nil, strings.NewReader(sample), &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| **verify, token seen before** | 250 ns, 0 | – | – |\n",
		"| **verify, new token** | 52.5 µs (+5.0 %), 26 | – | – |\n",
		"| signature check alone | 50.1 µs, 21 | – | – |\n",
		"| golang-jwt v5 + keyfunc v3 | 60.1 µs (+20.5 %), 79 |",
		"| 240 times faster |",
		"130 ns a token instead of 250 ns on one of them, 1.9 times as many.",
		"| **verify** | 80 ns, 0 |\n",
		"| golang-jwt v5 + keyfunc v3 | 1.5 ms, 7 |\n",
		"Measured on Example <1>, linux/amd64.",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, stdout.String())
		}
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chart.svg")
	if err := run([]string{"-svg", path}, strings.NewReader(sample), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(data)))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("chart is not XML: %v", err)
		}
	}
	for _, want := range []string{
		`<title id="title">`, "ES256: verify, token seen before 250 ns; signature check alone 50.1 µs;",
		"52.5 µs, +5 %", "not supported", "prefers-color-scheme: dark",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("chart lacks %q", want)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, input := range map[string]string{
		"empty":          "",
		"failed":         "FAIL\tpackage\t0.1s\n",
		"not a figure":   "BenchmarkFirst/ES256-2 100 x ns/op\n",
		"unit is absent": "BenchmarkFirst/ES256-2 100 5\n",
	} {
		if err := run(nil, strings.NewReader(input), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
