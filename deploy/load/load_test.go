package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets this program be the bare server, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == bareArgument {
		main()
		return
	}
	m.Run()
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args string
		want string
	}{
		"another machine":      {"--url https://sessions.example.com", "is not this machine"},
		"another one allowed":  {"--url https://sessions.example.com --allow-host sessions.example.org --rate 10", "is not this machine"},
		"in clear":             {"--url http://192.0.2.1 --allow-host 192.0.2.1 --rate 10", "in clear"},
		"no rate":              {"--url https://192.0.2.1 --allow-host 192.0.2.1", "--rate"},
		"too high a rate":      {"--url https://192.0.2.1 --allow-host 192.0.2.1 --rate 1001", "--rate"},
		"looks like loopback":  {"--url http://127.0.0.1.example.com", "is not this machine"},
		"a user":               {"--url http://127.0.0.1@example.com", "without user"},
		"too long":             {"--duration 11m", "--duration"},
		"too many connections": {"--connections 501", "--connections"},
		"no key":               {"", "--api-key-file"},
		"a missing key":        {"--api-key-file /nonexistent", "reading the API key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var talk strings.Builder
			_, err := parseOptions(append([]string{"--customer-id", customerID}, strings.Fields(tc.args)...), &talk)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	ours := &result{call: "x", ours: true, turns: time.Second, failures: map[int]int{429: 2}}
	bare := &result{call: "x", turns: time.Second}
	for n := range 200 {
		ours.took = append(ours.took, time.Duration(200-n)*time.Millisecond)
		bare.took = append(bare.took, 100*time.Millisecond)
	}
	var out strings.Builder
	err := report(&out, []*result{ours, bare})
	if err == nil || !strings.Contains(err.Error(), "2 answered 429 (start the server with") {
		t.Errorf("got error %v, want one that helps", err)
	}
	for _, want := range []string{
		"| x | this one | 202 | 2 | 200 | 100000 µs | 198000 µs | 200000 µs |\n",
		"| x | bare Echo | 200 | 0 | 200 | 100000 µs | 100000 µs | 100000 µs |\n",
		"| | **ratio** | | | **100 %** | 100 % | 198 % | 200 % |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
