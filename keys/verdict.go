package keys

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Verdict is the findings of [Check]; it is empty if there are none.
type Verdict []Finding

// A Finding is one problem of a step from one version of a manifest to the
// next.
type Finding struct {
	// Rule is the short name of the broken rule; [Check] lists them. Names do
	// not change between releases.
	Rule string
	// KeyID is the key at fault, or empty if it is the manifest as a whole.
	KeyID string
	// By is how much too early, too late or too short something is, or 0.
	By time.Duration
	// Message says what is wrong and what it would cause.
	Message string
	// Fix says what to do.
	Fix string
	// Warning means that the step is safe, but that an operator should know: no
	// token is wrongly refused or accepted because of it.
	Warning bool
}

// Err returns all findings that are not warnings as one error, one a line, or
// nil if there are none: then the step is safe.
func (v Verdict) Err() error { return errors.Join(v.errors()...) }

func (v Verdict) errors() []error {
	var problems []error
	for _, f := range v {
		if !f.Warning {
			problems = append(problems, errors.New(f.line()))
		}
	}
	return problems
}

// String returns two lines a finding, what is wrong and what to do, or "safe"
// without findings. There is no line feed at the end.
func (v Verdict) String() string {
	if len(v) == 0 {
		return "safe"
	}
	lines := make([]string, len(v))
	for i, f := range v {
		lines[i] = f.lines()
	}
	return strings.Join(lines, "\n")
}

// lines returns what is wrong and what to do, a line each.
func (f Finding) lines() string {
	level := "unsafe"
	if f.Warning {
		level = "warning"
	}
	return level + ": " + f.text() + "\n    fix: " + f.Fix
}

func (f Finding) line() string { return f.text() + "; " + f.Fix }

func (f Finding) text() string {
	text := f.Rule + ": "
	if f.KeyID != "" {
		text += fmt.Sprintf("key %q: ", f.KeyID)
	}
	text += f.Message
	if f.By > 0 {
		text += fmt.Sprintf(" (by %v)", f.By)
	}
	return text
}
