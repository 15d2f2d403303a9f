package keys

import (
	"errors"
	"slices"
	"time"
)

// Init makes version 1 of a new set: a first key, and a next one that is
// published already and takes over one rotation period after the first began.
// Both leases end one lease after that, so that a set that is never rotated has
// a known end. Both keys are generated, unless keys in a device are given, by
// Public and Signer: they are the first and the next key, or, where there is
// only one, the first. A zero Key plans a key, and makes the manifest a draft;
// see [Manifest.Draft].
//
// With bootstrap, the first key signs immediately: right for an installation
// that has no consumer yet, and wrong for any other. Without it, nothing signs
// until every cache can hold the first key: propagation, cache and skew after
// now. The error is that of a policy out of bounds, or of a key.
func Init(p Policy, now time.Time, bootstrap bool, device ...Key) (*Manifest, error) {
	if problems := p.problems(); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(device) > 2 {
		return nil, errors.New("a new set has two keys; add more afterwards")
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
	draft := slices.Contains(device, Key{})
	if len(device) == 0 {
		device = make([]Key, 2)
	}
	m := &Manifest{Version: 1, CreatedAt: start, Policy: p, draft: true}
	for i := range device {
		k := &Key{
			Public: device[i].Public, Signer: device[i].Signer,
			PublishAt: start, ActivateAt: []time.Time{activate, takeOver}[i], Bootstrap: bootstrap && i == 0,
		}
		if k.Public == nil && k.Signer != "" {
			return nil, errNoPublic
		}
		k.lease(p, takeOver.Add(p.Lease))
		m.Keys = append(m.Keys, k)
	}
	if draft {
		return m, nil
	}
	if err := m.generate(generateKey); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// lease allows a key to sign until then, and to stay for its last token.
func (k *Key) lease(p Policy, until time.Time) {
	k.SignUntil = until
	k.PromisedUntil = later(k.PromisedUntil, until)
	k.RemoveAt = later(k.RemoveAt, k.PromisedUntil.Add(p.stay()))
}
