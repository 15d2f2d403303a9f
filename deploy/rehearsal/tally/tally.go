// Package tally counts what happens to creates and verifications in each act of
// the rehearsal, and judges it.
package tally

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Tally is a list of acts, one of which is on. Its methods are safe for
// concurrent use.
type Tally struct {
	mu   sync.Mutex
	acts []*Act
}

// New returns a tally whose first act has begun.
func New(name string) *Tally {
	t := &Tally{}
	t.Begin(name, false)
	return t
}

// Begin ends the act that is on and begins another one. With outage, creates may
// be answered with 503 in it: that is what the act is about.
func (t *Tally) Begin(name string, outage bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
	t.acts = append(t.acts, &Act{name: name, outage: outage, began: time.Now()})
}

// End ends the act that is on.
func (t *Tally) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
}

func (t *Tally) end() {
	if len(t.acts) > 0 {
		t.acts[len(t.acts)-1].end()
	}
}

// Act returns the act that is on. What begins in an act counts in it, also when
// it ends later.
func (t *Tally) Act() *Act {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acts[len(t.acts)-1]
}

// Err says which acts did not go as they must.
func (t *Tally) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var problems []error
	for _, a := range t.acts {
		for _, text := range a.problems() {
			problems = append(problems, fmt.Errorf("%s: %s", a.name, text))
		}
	}
	return errors.Join(problems...)
}
