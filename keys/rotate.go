package keys

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// steadySize is how many keys a set has at most by rotating alone: one retired
// key, the current one, and two next ones around a takeover.
const steadySize = 4

var errPublicCopy = errors.New("manifest is a public copy without private parts; rotate the original")

// Rotate returns the version that follows m at now, or m itself if nothing is
// due. It drops removed keys, and keeps their public halves in Dropped for
// [RecoveryPeriod]; it renews the lease of the current key and publishes
// next keys, for the algorithm of the policy. Only the new keys are random: the
// same m and now give the same schedule. It does not change m, and is safe for
// concurrent use.
//
// Run it daily, and at least twice a lease. Then a key signs at any instant;
// the next key is published, and from the second rotation on it is ready before
// the current one begins; and there are at most 4 keys. To keep that number, a
// rotation takes at least as long as a key stays published after it has signed,
// and long enough that the leases of two keys end before a third one is
// retired, even if the rotation_period of the [Policy] is shorter.
//
// A lease is renewed when little more than half of it is left, and never beyond
// the takeover of the next key. If no key may sign, Rotate resumes with the
// newest key that every cache still holds, brings a next key forward as far as
// rule 1 allows, or publishes a new key. If the newest key is in a device,
// Rotate makes no new key; make that in the device, and [Add] it.
//
// Every version it returns has passed [Check]. It is an error if it does not,
// if m is invalid or a public copy, or if a key cannot be generated.
func Rotate(m *Manifest, now time.Time) (*Manifest, error) {
	return rotate(m, now, generateKey)
}

type generator func(jwk.Algorithm) (*PrivateKey, error)

func rotate(m *Manifest, now time.Time, generate generator) (*Manifest, error) {
	next, err := advance(m, now, generate, func(*rotation) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("rotating keys: %w", err)
	}
	return next, nil
}

// advance plans the version that follows m, and then generates the new keys.
func advance(m *Manifest, now time.Time, generate generator, change func(*rotation) error) (*Manifest, error) {
	next, err := plan(m, now, change)
	if err != nil {
		return nil, err
	}
	if next == m || m.draft {
		return next, nil
	}
	if err := next.generate(generate); err != nil {
		return nil, err
	}
	return next, nil
}

// plan returns a draft of the version that follows m: change is applied to it,
// and then all that rotating would do. It is a function of its arguments alone,
// and the step has passed [Check].
func plan(m *Manifest, now time.Time, change func(*rotation) error) (*Manifest, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if own := func(k *Key) bool { return !k.Imported }; m.isPublic() && slices.ContainsFunc(m.Keys, own) {
		return nil, errPublicCopy
	}
	r := rotation{m: m.Draft(), now: now.UTC()}
	if err := change(&r); err != nil {
		return nil, err
	}
	r.drop()
	r.renew()
	r.publish()
	r.trim()
	if !r.due {
		return m, nil
	}
	r.m.Version++
	r.m.CreatedAt = r.instant()
	if err := Check(m, r.m, now).Err(); err != nil {
		return nil, err
	}
	return r.m, nil
}

type rotation struct {
	m   *Manifest // a draft
	now time.Time
	due bool // whether anything changed
}

// period is how long a key is the current one. It is longer than RotationPeriod
// where keys would otherwise pile up: a key is removed at most stay after its
// lease, which ends one lease after it began or when its successor takes over.
func (p Policy) period() time.Duration {
	two := (p.Lease + p.stay() + time.Second) / 2
	return max(p.RotationPeriod, p.stay(), two.Truncate(time.Second)+time.Second)
}

// stay is how long a key is published after its lease: as long as rule 2
// demands, and long enough that a renewal at the last moment reaches all
// replicas before they remove the key.
func (p Policy) stay() time.Duration { return max(p.retention(), p.Propagation+p.Skew) }

// drop deletes removed keys, and keeps the public halves of those that were not
// revoked for RecoveryPeriod.
func (r *rotation) drop() {
	n := len(r.m.Dropped)
	r.m.Dropped = slices.DeleteFunc(r.m.Dropped, func(k *Key) bool { return !r.now.Before(k.RemoveAt.Add(RecoveryPeriod)) })
	r.due = r.due || len(r.m.Dropped) < n
	var kept []*Key
	for _, k := range r.m.Keys {
		if r.now.Before(k.RemoveAt) {
			kept = append(kept, k)
			continue
		}
		r.due = true
		k.Private, k.Signer = nil, ""
		if k.RevokedAt.IsZero() && r.now.Before(k.RemoveAt.Add(RecoveryPeriod)) {
			r.m.Dropped = append(r.m.Dropped, k)
		}
	}
	r.m.Keys = kept
}

// trim forgets the keys that were dropped first where there are too many.
func (r *rotation) trim() {
	if over := len(r.m.Keys) + len(r.m.Dropped) - maxKeys; over > 0 {
		r.m.Dropped = r.m.Dropped[min(over, len(r.m.Dropped)):]
	}
}

// usable reports whether the key signs, or will, or could again.
func (r *rotation) usable(k *Key) bool {
	known := !k.RemoveAt.Before(r.now.Add(r.m.Policy.Propagation + r.m.Policy.Skew))
	return k.signable() && k.RevokedAt.IsZero() && known
}

// retired reports whether the lease of the key was cut short, as by a rollback.
func (r *rotation) retired(k *Key) bool {
	return !r.now.Before(k.SignUntil) && k.SignUntil.Before(k.PromisedUntil)
}

// current returns the key that signs or, if its lease has ended, should sign. A
// retired key is the last resort.
func (r *rotation) current() *Key {
	active := func(k *Key) bool { return r.usable(k) && !r.now.Before(k.ActivateAt) }
	return cmp.Or(
		r.m.newest(func(k *Key) bool { return active(k) && !r.retired(k) }),
		r.m.newest(active),
	)
}

// upcoming returns the keys that have yet to start signing, in that order.
func (r *rotation) upcoming() []*Key {
	var upcoming []*Key
	for _, k := range r.m.Keys {
		if r.usable(k) && r.now.Before(k.ActivateAt) {
			upcoming = append(upcoming, k)
		}
	}
	slices.SortFunc(upcoming, func(a, b *Key) int { return newestFirst(b, a) })
	return upcoming
}

// renew extends the lease of the current key, up to the next takeover.
func (r *rotation) renew() {
	p, k, upcoming := r.m.Policy, r.current(), r.upcoming()
	if k == nil {
		r.bringForward(upcoming)
		return
	}
	until := r.now.Truncate(time.Second).Add(p.Lease)
	if len(upcoming) > 0 && upcoming[0].ActivateAt.Before(until) {
		until = upcoming[0].ActivateAt
	}
	// A renewal takes propagation and skew to reach the last replica.
	enough := r.now.Add(p.Lease/2 + p.Propagation + p.Skew)
	if k.SignUntil.Before(until) && k.SignUntil.Before(enough) {
		r.lease(k, until)
	}
}

func (r *rotation) lease(k *Key, until time.Time) {
	k.lease(r.m.Policy, until)
	r.due = true
}

// bringForward makes the first upcoming key sign as soon as it may.
func (r *rotation) bringForward(upcoming []*Key) {
	if len(upcoming) == 0 {
		return
	}
	r.takeOver(upcoming[0])
}

// takeOver makes an upcoming key sign as soon as rule 1 allows.
func (r *rotation) takeOver(k *Key) {
	if earliest := later(r.instant(), k.PublishAt.Add(r.m.Policy.lead())); earliest.Before(k.ActivateAt) {
		k.ActivateAt = earliest
		r.due = true
	}
}

// instant returns now rounded down to a second, but never an instant before the
// current version was made: clocks differ.
func (r *rotation) instant() time.Time {
	return later(r.now.Truncate(time.Second), r.m.CreatedAt)
}

// start returns now rounded up to a second, but never an instant before the
// current version was made.
func (r *rotation) start() time.Time {
	start := r.now.Truncate(time.Second)
	if start.Before(r.now) {
		start = start.Add(time.Second)
	}
	return later(start, r.m.CreatedAt)
}

// publish adds the next key, and the one after that early enough to be ready at
// the takeover, however late the run before it is.
func (r *rotation) publish() {
	soon := r.now.Add(r.m.Policy.lead() + r.m.Policy.Lease/2)
	for {
		upcoming := r.upcoming()
		wanted := len(upcoming) == 0 ||
			len(upcoming) == 1 && upcoming[0].ActivateAt.Before(soon) && r.alive() < steadySize
		newest := r.newest(upcoming)
		if !wanted || newest != nil && newest.Signer != "" {
			return
		}
		r.add(&Key{})
	}
}

// alive returns how many keys are not revoked. Revoked keys are not part of the
// steady state, and must not prevent a standby.
func (r *rotation) alive() int {
	n := 0
	for _, k := range r.m.Keys {
		if k.RevokedAt.IsZero() {
			n++
		}
	}
	return n
}

// add publishes a key that takes over one period after the one before it, and
// is removed as early as possible.
func (r *rotation) add(k *Key) {
	p := r.m.Policy
	k.PublishAt = r.start()
	k.ActivateAt = k.PublishAt.Add(p.lead())
	if newest := r.newest(r.upcoming()); newest != nil {
		k.ActivateAt = later(k.ActivateAt, newest.ActivateAt.Add(p.period()))
	}
	r.m.Keys = append(r.m.Keys, k)
	r.lease(k, k.ActivateAt.Add(p.Lease))
}

// newest returns the key that signs last, or nil.
func (r *rotation) newest(upcoming []*Key) *Key {
	if len(upcoming) > 0 {
		return upcoming[len(upcoming)-1]
	}
	return r.current()
}
