package tally

import (
	"fmt"
	"sync"
	"time"
)

// An Act counts what happens in one act. Its methods are safe for concurrent use.
type Act struct {
	name   string
	outage bool
	began  time.Time

	mu            sync.Mutex
	lasted        time.Duration
	creates       int
	again         int
	unavailable   int
	failed        int
	worstCreate   time.Duration
	verifications int
	refused       int
	late          int
	worstVerify   time.Duration
}

// An Outcome is how a create ended, at its last attempt.
type Outcome int

// Outcomes of a create.
const (
	// Created means that there is a session.
	Created Outcome = iota
	// Unavailable means that the answer was 503.
	Unavailable
	// Failed means any other answer, or none.
	Failed
)

// Create counts a create, which took so long and so many attempts.
func (a *Act) Create(outcome Outcome, attempts int, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.creates++
	a.again += attempts - 1
	switch outcome {
	case Created:
		a.worstCreate = max(a.worstCreate, took)
	case Unavailable:
		a.unavailable++
	case Failed:
		a.failed++
	}
}

// A Verdict is what a consumer made of a token.
type Verdict int

// Verdicts about a token.
const (
	// Right means that a good token was accepted, or a bad one refused.
	Right Verdict = iota
	// Refused means that a good token was not accepted.
	Refused
	// Late means that a token of a revoked key was accepted after the time at
	// which no consumer may do so any more.
	Late
)

// Verify counts a verification, which took so long.
func (a *Act) Verify(verdict Verdict, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.verifications++
	a.worstVerify = max(a.worstVerify, took)
	switch verdict {
	case Right:
	case Refused:
		a.refused++
	case Late:
		a.late++
	}
}

func (a *Act) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lasted == 0 {
		a.lasted = time.Since(a.began)
	}
}

// problems are what must not happen in any act. An act in which nothing was
// created or verified shows nothing, and is a problem, too.
func (a *Act) problems() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var problems []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	add(a.creates == 0 || a.verifications == 0, "there was no load")
	add(a.failed > 0, "%d creates failed", a.failed)
	add(a.unavailable > 0 && !a.outage, "%d creates were answered with 503", a.unavailable)
	add(a.refused > 0, "%d valid tokens were refused", a.refused)
	add(a.late > 0, "%d tokens of a revoked key were accepted too late", a.late)
	return problems
}
