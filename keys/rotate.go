package keys

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// steadySize is how many keys a set has at most by rotating alone: one that is
// retired, the current one, and two next ones while they change places.
const steadySize = 4

var errPublicCopy = errors.New("manifest is a public copy, without any private part: rotate the original")

// Rotate returns the manifest that follows m at now, or m itself when nothing
// is due: it drops removed keys, renews the lease of the current one and
// publishes next ones, for the algorithm that the policy names. Nothing but
// the new keys is random: the same m and now give the same schedule. It does
// not change m, and is safe to call from several goroutines.
//
// Run it daily, and at least twice a lease. It then keeps these promises: a
// key signs at any instant; the next one is published, and ready before the
// current one begins, from the second rotation on; there are at most 4 keys.
// For the last, a rotation takes at least as long as a key stays published
// after it has signed, and so long that the leases of two are over before a
// third is retired: see [Policy], whose rotation_period may ask for less.
//
// A lease is renewed once little more than half of it is left, and never
// beyond the instant at which the next key takes over. When no key may sign,
// Rotate resumes with the newest that every cache still holds, brings a next
// one forward as far as rule 1 allows, or publishes a new one. Where the
// newest key is in a device, it makes no new key: that is done there.
//
// Every manifest it returns is [Check]ed; the error is that of the check, of m
// being invalid or a public copy, or of key generation.
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

// advance makes the version that follows m: it plans it, and then generates the
// keys that are new.
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

// plan returns a draft of the version that follows m: with what change does to
// it, and then with all that rotating would do. It is a function of its
// arguments alone, and has checked the step.
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
	due bool // whether anything was changed
}

// period is how long a key is the current one. It is longer than asked for
// where keys would otherwise pile up: key i leaves at most stay after its
// lease, which ends one lease after it began or when its successor takes over.
func (p Policy) period() time.Duration {
	two := (p.Lease + p.stay() + time.Second) / 2
	return max(p.RotationPeriod, p.stay(), two.Truncate(time.Second)+time.Second)
}

// stay is how long a key is published after its lease: what rule 2 demands,
// and long enough that a renewal at the last moment still reaches all replicas
// before they take the key out.
func (p Policy) stay() time.Duration { return max(p.retention(), p.Propagation+p.Skew) }

// drop leaves removed keys out.
func (r *rotation) drop() {
	n := len(r.m.Keys)
	r.m.Keys = slices.DeleteFunc(r.m.Keys, func(k *Key) bool { return !r.now.Before(k.RemoveAt) })
	r.due = r.due || len(r.m.Keys) < n
}

// usable reports whether the key signs, or will, or could do so again.
func (r *rotation) usable(k *Key) bool {
	known := !k.RemoveAt.Before(r.now.Add(r.m.Policy.Propagation + r.m.Policy.Skew))
	return k.signable() && k.RevokedAt.IsZero() && known
}

// retired reports whether the lease of the key was cut short, as a rollback
// does.
func (r *rotation) retired(k *Key) bool {
	return !r.now.Before(k.SignUntil) && k.SignUntil.Before(k.PromisedUntil)
}

// current returns the key that signs or, when its lease has ended, should. One
// that was retired is the last resort.
func (r *rotation) current() *Key {
	active := func(k *Key) bool { return r.usable(k) && !r.now.Before(k.ActivateAt) }
	return cmp.Or(
		r.m.newest(func(k *Key) bool { return active(k) && !r.retired(k) }),
		r.m.newest(active),
	)
}

// upcoming returns the keys that are still to sign, the first one first.
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

// renew prolongs the lease of the current key up to the takeover.
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

// bringForward lets the first key that is to come sign as soon as it may.
func (r *rotation) bringForward(upcoming []*Key) {
	if len(upcoming) == 0 {
		return
	}
	r.takeOver(upcoming[0])
}

// takeOver lets a key that is to come sign as soon as rule 1 allows.
func (r *rotation) takeOver(k *Key) {
	if earliest := later(r.instant(), k.PublishAt.Add(r.m.Policy.lead())); earliest.Before(k.ActivateAt) {
		k.ActivateAt = earliest
		r.due = true
	}
}

// instant returns the last whole second that is not after now, but none before
// the version that is there was made: clocks differ.
func (r *rotation) instant() time.Time {
	return later(r.now.Truncate(time.Second), r.m.CreatedAt)
}

// start returns the first whole second that is not before now, nor before the
// version that is there was made.
func (r *rotation) start() time.Time {
	start := r.now.Truncate(time.Second)
	if start.Before(r.now) {
		start = start.Add(time.Second)
	}
	return later(start, r.m.CreatedAt)
}

// publish adds the next key, and the one after it so early that it is ready
// when that takes over, however late the run before then is.
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

// alive returns how many keys are not revoked. What was revoked is no part of
// the steady state, and must not keep a standby out.
func (r *rotation) alive() int {
	n := 0
	for _, k := range r.m.Keys {
		if k.RevokedAt.IsZero() {
			n++
		}
	}
	return n
}

// add publishes a key, to take over one period after the one before it, and to
// leave as early as it may.
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

// newest returns the key that signs last, nil when none does.
func (r *rotation) newest(upcoming []*Key) *Key {
	if len(upcoming) > 0 {
		return upcoming[len(upcoming)-1]
	}
	return r.current()
}
