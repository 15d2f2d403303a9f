package keys

import (
	"errors"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A Remote is a key whose private part is elsewhere.
type Remote struct {
	// Signer is the URI of the private part, as in [Key].
	Signer string
	Public *jwk.Key
}

// Init makes version 1 of a new set: a first key, and a next one that is
// published already and takes over one rotation period after the first began.
// Both leases end one lease after that, so that a set that nobody rotates has
// a known end. Both keys are generated, unless there are remote ones: then
// those are the first and the next one, or, where there is only one, the first.
// A zero Remote plans a key, and the manifest is a draft as of
// [Manifest.Draft].
//
// With bootstrap, the first key signs at once: right for an installation that
// has no consumer yet, and wrong for any other. Without it, nothing signs
// until every cache can hold the first key: propagation, cache and skew after
// now. The error is that of a policy out of bounds, or of a key.
func Init(p Policy, now time.Time, bootstrap bool, remotes ...Remote) (*Manifest, error) {
	if problems := p.problems(); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(remotes) > 2 {
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
	m := &Manifest{Version: 1, CreatedAt: start, Policy: p, draft: true}
	keep := false // the draft
	for i, from := range []time.Time{activate, takeOver} {
		k := &Key{Bootstrap: bootstrap && i == 0, PublishAt: start, ActivateAt: from}
		switch {
		case i < len(remotes):
			k.Public, k.Signer = remotes[i].Public, remotes[i].Signer
			if k.Public == nil && k.Signer != "" {
				return nil, errNoPublic
			}
			keep = keep || k.Public == nil
		case len(remotes) > 0:
			continue
		}
		k.lease(p, takeOver.Add(p.Lease))
		m.Keys = append(m.Keys, k)
	}
	if keep {
		return m, nil
	}
	if err := m.generate(generateKey); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// lease lets a key sign until then, and stay for as long as its last token.
func (k *Key) lease(p Policy, until time.Time) {
	k.SignUntil = until
	k.PromisedUntil = later(k.PromisedUntil, until)
	k.RemoveAt = later(k.RemoveAt, k.PromisedUntil.Add(p.stay()))
}
