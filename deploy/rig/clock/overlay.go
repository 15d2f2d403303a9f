package clock

import (
	_ "embed"
	"fmt"
	"strings"
)

// scaled is the clock itself, as a file of package time.
//
//go:embed scaled.go.txt
var scaled string

//go:embed onethread.go.txt
var oneThread string

// added returns the files that the standard library gets, by their paths in
// its source.
func added() map[string]string {
	return map[string]string{
		"time/scaled.go":  strings.ReplaceAll(scaled, "VARIABLE", Variable),
		"os/onethread.go": strings.ReplaceAll(oneThread, "ONE_THREAD", OneThread),
	}
}

// A change replaces the one occurrence of a text.
type change struct{ from, to string }

// changed returns what is changed in which files of the standard library.
func changed() map[string][]change {
	return map[string][]change{
		"time/time.go": {
			{"\tsec, nsec, mono := runtimeNow()\n", "\tsec, nsec, mono := scaledNow()\n"},
			{"\tmono -= startNano\n", "\tmono = scaledMono(mono)\n"},
			{"return subMono(runtimeNano()-startNano, t.ext)", "return subMono(scaledMono(runtimeNano()), t.ext)"},
			{"return subMono(t.ext, runtimeNano()-startNano)", "return subMono(t.ext, scaledMono(runtimeNano()))"},
		},
		"time/sleep.go": {
			// Package runtime gives it its body, under another name now.
			{"\nfunc Sleep(d Duration)\n", "\nfunc Sleep(d Duration) { runtimeSleep(realLength(d)) }\n"},
			{"t := runtimeNano() + int64(d)", "t := runtimeNano() + realLength(d)"},
			{"Now().Add(Duration(-delta))", "Now().Add(Duration(-delta*theClock.scale))"},
		},
		"time/tick.go": {
			{"newTimer(when(d), int64(d), ", "newTimer(when(d), realLength(d), "},
			{"(unsafe.Pointer(t)), when(d), int64(d))", "(unsafe.Pointer(t)), when(d), realLength(d))"},
		},
		"runtime/time.go": {
			{"//go:linkname timeSleep time.Sleep\n", "//go:linkname timeSleep time.runtimeSleep\n"},
		},
	}
}

// apply makes changes to a text that must hold each of them exactly once.
func apply(text string, changes []change) (string, error) {
	for _, c := range changes {
		if n := strings.Count(text, c.from); n != 1 {
			return "", fmt.Errorf("%q is there %d times, not once: this version of Go needs another replacement", c.from, n)
		}
		text = strings.Replace(text, c.from, c.to, 1)
	}
	return text, nil
}
