package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// The changes that an operator makes by hand. Each returns the version that
// follows m at now. [Check] finds it safe, and it includes what [Rotate] would
// do at the same time: after a next key takes over, there is another next key.
// None of them changes m.

// Activate makes a next key take over as soon as every cache can hold it (rule
// 1), in an emergency or ahead of schedule. An empty ID means the next key that
// would take over first. A key that [Rollback] retired signs again.
func Activate(m *Manifest, now time.Time, id string) (*Manifest, error) {
	next, err := advance(m, now, generateKey, func(r *rotation) error { return r.activate(id) })
	return next, wrap("activating a key", err)
}

// Revoke withdraws keys from the JWK Set immediately and for good. If the
// current key is among them, the first next key replaces it, immediately if
// every cache can already hold it. The tokens of the keys become invalid;
// [Manifest.TokensOf] reports which. If all keys are revoked, a new one is
// published, and nothing can sign until every cache can hold it. A key that was
// dropped is forgotten.
func Revoke(m *Manifest, now time.Time, ids ...string) (*Manifest, error) {
	next, err := advance(m, now, generateKey, func(r *rotation) error { return r.revoke(ids) })
	return next, wrap("revoking keys", err)
}

// Rollback makes the previous key sign again, as long as consumers still hold
// it. The current key is retired: it stops signing, and stays published until
// its last token has expired.
func Rollback(m *Manifest, now time.Time) (*Manifest, error) {
	next, err := advance(m, now, generateKey, (*rotation).rollback)
	return next, wrap("rolling back", err)
}

// Add publishes one more next key, which takes over one rotation period after
// the last key that is published already; [Activate] makes it take over
// earlier. The key is the one in a device that Public and Signer name, or is
// generated if device is nil.
func Add(m *Manifest, now time.Time, device *Key) (*Manifest, error) {
	next, err := advance(m, now, generateKey, func(r *rotation) error { return r.addKey(device) })
	return next, wrap("adding a key", err)
}

// Import publishes keys of another issuer under the key IDs that they have
// there, until removeAt, for the verifiers of its tokens. They never sign. A
// key that is imported already stays until the later instant; a key of this
// issuer is left as it is.
func Import(m *Manifest, now, removeAt time.Time, publics ...*jwk.Key) (*Manifest, error) {
	next, err := advance(m, now, generateKey, func(r *rotation) error {
		for _, public := range publics {
			if err := r.importKey(public, removeAt); err != nil {
				return err
			}
		}
		return nil
	})
	return next, wrap("importing keys", err)
}

// SetPolicy changes the policy. Existing keys keep their schedule; it is an
// error if that does not fit the new policy.
func SetPolicy(m *Manifest, now time.Time, p Policy) (*Manifest, error) {
	next, err := advance(m, now, generateKey, func(r *rotation) error {
		if problems := p.problems(); len(problems) > 0 {
			return errors.Join(problems...)
		}
		r.due = r.m.Policy != p
		r.m.Policy = p
		return nil
	})
	return next, wrap("changing the policy", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// find returns the key with that ID.
func (r *rotation) find(id string) (*Key, error) {
	if k := r.m.key(id); k != nil {
		return k, nil
	}
	ids := make([]string, len(r.m.Keys))
	for i, k := range r.m.Keys {
		ids[i] = k.ID()
	}
	return nil, fmt.Errorf("there is no key %q; there are %s", id, strings.Join(ids, ", "))
}

func (r *rotation) activate(id string) error {
	if id == "" {
		upcoming := r.upcoming()
		if len(upcoming) == 0 {
			return errors.New("there is no next key; add one")
		}
		id = upcoming[0].ID()
	}
	k, err := r.find(id)
	if err != nil {
		return err
	}
	switch state := r.m.StateAt(k, r.now); {
	case !r.usable(k):
		return fmt.Errorf("key %q cannot sign: it is %s; activate a next key", id, r.unusable(k, state))
	case r.now.Before(k.ActivateAt):
		r.takeOver(k)
	case state == Current:
	case r.retired(k) && r.newer(k):
		r.lease(k, later(k.PromisedUntil, r.instant().Add(r.m.Policy.Lease)))
	default:
		return fmt.Errorf("key %q has signed already, and a newer key took over; roll back instead", id)
	}
	return nil
}

// unusable returns why a key cannot sign.
func (r *rotation) unusable(k *Key, state State) string {
	switch {
	case k.Imported:
		return "imported, without a private part"
	case !k.signable():
		return "a public copy, without a private part"
	case state == Retired:
		return "about to be removed"
	default:
		return state.String()
	}
}

// newer reports whether the key would sign instead of the current one.
func (r *rotation) newer(k *Key) bool {
	current := r.m.CurrentAt(r.now)
	return current == nil || newestFirst(k, current) < 0
}

func (r *rotation) revoke(ids []string) error {
	if len(ids) == 0 {
		return errors.New("no key is named")
	}
	current := r.m.CurrentAt(r.now)
	for _, id := range ids {
		if r.forget(id) {
			continue
		}
		k, err := r.find(id)
		if err != nil {
			return err
		}
		if k.revokedAt(r.now) {
			continue
		}
		// Rounded down, so that no token issued by now stays valid.
		k.RevokedAt = r.now.Truncate(time.Second)
		r.due = true
	}
	if current != nil && current.revokedAt(r.now) {
		r.bringForward(r.upcoming())
	}
	return nil
}

// forget reports whether the key with that ID is a dropped one, and takes it out.
func (r *rotation) forget(id string) bool {
	n := len(r.m.Dropped)
	r.m.Dropped = slices.DeleteFunc(r.m.Dropped, func(k *Key) bool { return k.ID() == id })
	forgotten := len(r.m.Dropped) < n
	r.due = r.due || forgotten
	return forgotten
}

func (r *rotation) rollback() error {
	current := r.m.CurrentAt(r.now)
	if current == nil {
		return errors.New("no key signs, so there is nothing to roll back; rotate instead")
	}
	before := r.m.newest(func(k *Key) bool { return r.usable(k) && !r.retired(k) && newestFirst(current, k) < 0 })
	if before == nil {
		return errors.New("no earlier key is still held by consumers; activate a next key instead")
	}
	if !current.ActivateAt.Before(r.instant()) {
		return fmt.Errorf("key %q took over this very second; try again in a second", current.ID())
	}
	current.SignUntil = r.instant()
	r.lease(before, later(before.SignUntil, r.instant().Add(r.m.Policy.Lease)))
	return nil
}

func (r *rotation) addKey(device *Key) error {
	k := &Key{}
	if device != nil {
		k.Public, k.Signer = device.Public, device.Signer
		if k.Public == nil {
			return errNoPublic
		}
	}
	if r.m.key(k.ID()) != nil {
		return fmt.Errorf("key %q exists already", k.ID())
	}
	if err := r.stays(k.Public); err != nil {
		return err
	}
	r.add(k)
	return nil
}

func (r *rotation) importKey(public *jwk.Key, removeAt time.Time) error {
	if !removeAt.After(r.instant()) {
		return fmt.Errorf("key %q would be removed at %s, which is in the past", public.ID(), formatTime(removeAt))
	}
	if err := r.stays(public); err != nil {
		return err
	}
	known := r.m.key(public.ID())
	switch {
	case known == nil:
		r.m.Keys = append(r.m.Keys, &Key{Public: public, Imported: true, PublishAt: r.instant(), RemoveAt: removeAt})
		r.due = true
	case !known.Public.Equal(public):
		return fmt.Errorf("key %q exists already and is another key", public.ID())
	case known.Imported && known.RemoveAt.Before(removeAt):
		known.RemoveAt = removeAt
		r.due = true
	}
	return nil
}

// stays returns an error if a key was dropped: it stays that.
func (r *rotation) stays(public *jwk.Key) error {
	if k := r.m.dropped(public); k != nil {
		return fmt.Errorf("key %q was removed at %s and does not come back; use a new key", k.ID(), formatTime(k.RemoveAt))
	}
	return nil
}
