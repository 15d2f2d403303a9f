package keys

import (
	"errors"
	"time"
)

// Init makes version 1 of a new set: a first key, and a next one that is
// published already and takes over one rotation period after the first began.
// Both leases end one lease after that, so that a set that nobody rotates has
// a known end.
//
// With bootstrap, the first key signs at once: right for an installation that
// has no consumer yet, and wrong for any other. Without it, nothing signs
// until every cache can hold the first key: propagation, cache and skew after
// now. The error is that of a policy out of bounds.
func Init(p Policy, now time.Time, bootstrap bool) (*Manifest, error) {
	if problems := p.problems(); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	start := now.UTC().Truncate(time.Second)
	activate := start
	if !bootstrap {
		if start.Before(now) {
			// Rounded down, caches would have had less time than was promised.
			start = start.Add(time.Second)
		}
		activate = start.Add(p.lead())
	}
	takeOver := activate.Add(p.RotationPeriod)
	first, err := newKey(p, start, activate, takeOver.Add(p.Lease))
	if err != nil {
		return nil, err
	}
	first.Bootstrap = bootstrap
	next, err := newKey(p, start, takeOver, takeOver.Add(p.Lease))
	if err != nil {
		return nil, err
	}
	return &Manifest{Version: 1, CreatedAt: start, Policy: p, Keys: []*Key{first, next}}, nil
}

// newKey generates a key that leaves as early as it may.
func newKey(p Policy, publish, activate, signUntil time.Time) (*Key, error) {
	return newKeyFrom(GenerateKey, p, publish, activate, signUntil)
}

func newKeyFrom(generate generator, p Policy, publish, activate, signUntil time.Time) (*Key, error) {
	private, err := generate(p.Algorithm)
	if err != nil {
		return nil, err
	}
	return &Key{
		Public:        private.Public(),
		Private:       private,
		PublishAt:     publish,
		ActivateAt:    activate,
		SignUntil:     signUntil,
		PromisedUntil: signUntil,
		RemoveAt:      signUntil.Add(p.stay()),
	}, nil
}
