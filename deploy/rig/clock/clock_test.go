package clock_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/clock"
)

// A wait is what the program of testdata prints.
type wait struct {
	Name         string
	Began, Ended time.Time
	Monotonic    time.Duration
	Delivered    time.Time
	Since, Due   time.Duration
}

// run lets the program wait, with an environment of one line, or none, and
// returns what it printed.
func run(t *testing.T, program string, long time.Duration, env ...string) []wait {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, long.String())
	command.Env = append([]string{}, env...)
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var waits []wait
	for lines := json.NewDecoder(bytes.NewReader(output)); ; {
		var w wait
		if err := lines.Decode(&w); errors.Is(err, io.EOF) {
			return waits
		} else if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, w)
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	program := clock.Build(t, "./testdata/program")
	behind := clock.Clock{Base: time.Now().Add(-time.Minute), Scale: 600, Offset: -40 * 24 * time.Hour}
	for _, test := range []struct {
		name  string
		clock clock.Clock
		long  time.Duration
		env   []string
	}{
		{"fast", clock.Scaled(300), time.Minute, nil},
		{"fast and behind", behind, time.Minute, []string{behind.Env()}},
		{"ahead", clock.Shifted(time.Hour), 30 * time.Millisecond, nil},
		{"real", clock.Shifted(0), 30 * time.Millisecond, []string{"NOTHING=set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := test.clock
			if test.env == nil {
				test.env = []string{c.Env()}
			}
			began := time.Now()
			waits := run(t, program, test.long, test.env...)
			ended := time.Now()
			if len(waits) != 7 {
				t.Fatalf("got %d waits, want 7", len(waits))
			}
			// Idle, it takes less than two seconds; a busy machine may be slower.
			if took := ended.Sub(began); took > 30*time.Second {
				t.Errorf("waiting 7 times for %v took %v", test.long, took)
			}
			last := c.At(began)
			for _, w := range waits {
				checkWait(t, c, test.long, w)
				if w.Began.Before(last) || w.Ended.After(c.At(ended)) {
					t.Errorf("%s was from %v to %v; want it from %v to %v", w.Name, w.Began, w.Ended, last, c.At(ended))
				}
				last = w.Ended
			}
		})
	}
}

// checkWait fails the test unless it was so long a wait by all clocks.
func checkWait(t *testing.T, c clock.Clock, long time.Duration, w wait) {
	t.Helper()
	// Clocks may be set while a test runs, by little.
	slack := time.Duration(c.Scale) * 10 * time.Millisecond
	wall := w.Ended.Sub(w.Began)
	if w.Monotonic < long || (wall-w.Monotonic).Abs() > slack {
		t.Errorf("%s took %v by the wall clock and %v by the monotonic one; want %v or more by both", w.Name, wall, w.Monotonic, long)
	}
	if w.Since < w.Monotonic || w.Due > long-w.Monotonic {
		t.Errorf("%s took %v, but Since says %v, and Until %v", w.Name, w.Monotonic, w.Since, w.Due)
	}
	if d := w.Delivered; !d.IsZero() && (d.Before(w.Began.Add(long-slack)) || d.After(w.Ended)) {
		t.Errorf("%s delivered %v, want it %v after %v", w.Name, d, long, w.Began)
	}
}

// A wrong variable must not pass for the real clock.
func TestWrongVariable(t *testing.T) {
	t.Parallel()
	program := clock.Build(t, "./testdata/program")
	for _, value := range []string{"", "1", "1,2", "1,2,3,4", "1,0,0", "1,-1,0", "x,1,0", "1,,0", "1,2,-", "10000000000000000000000,1,0"} {
		command := exec.CommandContext(t.Context(), program, "1ms")
		command.Env = []string{clock.Variable + "=" + value}
		output, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(output), clock.Variable+" is not base,scale,offset") {
			t.Errorf("%q: got %v %.300s", value, err, output)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_700_000_000, 5)
	c := clock.Clock{Base: base, Scale: 40, Offset: -time.Second}
	if got, want := c.Env(), "RIG_CLOCK=1700000000000000005,40,-1000000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := c.At(base.Add(3*time.Second)), base.Add(119*time.Second); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := c.Real(time.Minute+1), 1500*time.Millisecond+1; got != want {
		t.Errorf("a minute takes %v, want %v", got, want)
	}
	if got := time.Until(clock.Shifted(time.Hour).Now()); got < 59*time.Minute || got > 61*time.Minute {
		t.Errorf("a clock that is ahead by an hour is ahead by %v", got)
	}
}

// A text that Go changed must not go unnoticed.
func TestApply(t *testing.T) {
	t.Parallel()
	if got, err := clock.Apply("a b c", "b", "x"); err != nil || got != "a x c" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"a c", "b b"} {
		if got, err := clock.Apply(text, "b", "x"); err == nil {
			t.Errorf("%q became %q, want an error", text, got)
		}
	}
}
