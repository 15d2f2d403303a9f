package keys

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Verdict is what [Check] found, nothing when all is well.
type Verdict []Finding

// A Finding is one thing that is wrong with a step from one version of a
// manifest to the next.
type Finding struct {
	// Rule is the short name of what is broken; [Check] lists them. It stays
	// the same from release to release.
	Rule string
	// KeyID is the key at fault, empty when it is the manifest as a whole.
	KeyID string
	// By is how much too early, too late or too short something is, 0 when
	// that is not the question.
	By time.Duration
	// Message says what is wrong and what it would lead to.
	Message string
	// Fix says what to do.
	Fix string
	// Warning says that the step is safe, but that somebody should know: no
	// token is refused for it and none accepted.
	Warning bool
}

// Err returns all findings that are not warnings as one error, a line each, and
// nil when there is none, which means that the step is safe.
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

// String returns two lines a finding, what is wrong and what to do, and "safe"
// when there is none. It ends without a line feed.
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

// lines returns the finding in two lines: what is wrong, and what to do.
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
