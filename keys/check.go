package keys

import (
	"bytes"
	"fmt"
	"time"
)

// Check decides whether next may follow old, a valid manifest, if it is published
// at now. A nil old means that there is none: next is the first version of an
// installation, or, if its number is not 1, a version whose predecessor is
// unknown, so that only next itself is checked.
//
// The writer of a version passes the current time. A replica that reads a
// published version passes next.CreatedAt, as news may arrive late, and a
// version that other replicas accepted must not be refused for that. So all
// replicas that have the same version decide alike. A replica that missed
// versions in between trusts them on when a key was published.
//
// The rules, by the name in a finding:
//
//   - manifest: next is sound by itself, as in [Manifest.Validate].
//   - version: version numbers go up. A rollback is a new version, too.
//   - created: created_at is the instant at which next is published.
//   - rule-1: activate_at is at or after publication + propagation + cache +
//     skew. A key is not published before the manifest that brings it.
//   - rule-2: remove_at is at or after promised_until + max_lifetime + 2 * skew.
//   - rule-3: remove_at never moves to an earlier instant, as tokens that were
//     signed under old may expire as late as remove_at - skew.
//   - lease: promised_until is at or after every sign_until ever promised.
//   - renewal: if remove_at of a signing key moves to a later instant, the key is
//     still in the JWK Set of every replica when the news arrives.
//   - changed: no key changes in place: its public half, publish_at (once that
//     has passed), bootstrap and imported stay, and so does the place of its
//     private part while it may sign.
//   - dropped: no key is left out before its remove_at. That includes a revoked
//     key, so that no rollback brings it back.
//   - revived: no dropped key comes back, nor does one change or stay longer, and
//     none is there that the version before does not have.
//   - revoked: a revocation is neither withdrawn nor postponed.
//   - bootstrap: only a key of the first version is marked so.
//   - signing: signing continues as long as it would have under old, or for one
//     lease. It is a warning if a revocation is the reason, or if no key could
//     sign under old either.
//   - standby: there is a next key for an emergency. Always a warning.
//
// Where the policies differ, the larger value counts, as caches and tokens made
// under old are still in use. To publish a key that relies on a lower cache or
// propagation, lower it first and wait for as long as the old value.
//
// [Manifest.MaxAge] keeps rule 4 in any version. A JWK Set cannot hold a private
// part, as a [jwk.Key] has none.
func Check(old, next *Manifest, now time.Time) Verdict {
	c := check{old: old, next: next, now: now, policy: next.Policy}
	for _, err := range next.problems() {
		c.add(Finding{Rule: "manifest", Message: err.Error(), Fix: "correct the manifest; nothing else was checked"})
	}
	if len(c.verdict) > 0 {
		return c.verdict
	}
	if old != nil {
		if old.Version == next.Version && bytes.Equal(old.Encode(), next.Encode()) {
			return nil
		}
		c.policy = larger(old.Policy, next.Policy)
		c.version()
		c.dropped()
		c.revived()
	}
	c.created()
	for _, k := range next.Keys {
		before := old.key(k.ID())
		if before != nil {
			c.unchanged(before, k)
			c.renewal(before, k)
		}
		if !k.Imported {
			c.published(before, k)
			c.promises(before, k)
		}
	}
	c.signing()
	c.standby()
	return c.verdict
}

type check struct {
	old, next *Manifest
	now       time.Time
	policy    Policy // of both, the larger values
	verdict   Verdict
}

func (c *check) add(findings ...Finding) { c.verdict = append(c.verdict, findings...) }

// direct reports whether nothing was published between old and next.
func (c *check) direct() bool {
	if c.old == nil {
		return c.next.Version == 1
	}
	return c.next.Version == c.old.Version+1
}

// key returns the key with that ID, or nil. m may be nil.
func (m *Manifest) key(id string) *Key {
	if m == nil || id == "" {
		return nil
	}
	for _, k := range m.Keys {
		if k.ID() == id {
			return k
		}
	}
	return nil
}

// larger returns the policy that is safe for what was made under either.
func larger(a, b Policy) Policy {
	b.Propagation = max(a.Propagation, b.Propagation)
	b.Cache = max(a.Cache, b.Cache)
	b.Skew = max(a.Skew, b.Skew)
	b.MaxLifetime = max(a.MaxLifetime, b.MaxLifetime)
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *check) version() {
	if c.next.Version > c.old.Version {
		return
	}
	c.add(Finding{
		Rule: "version",
		Message: fmt.Sprintf("version %d cannot follow version %d: there was another write in between, or an old file was put back",
			c.next.Version, c.old.Version),
		Fix: fmt.Sprintf("start again from version %d; to go back to an earlier version, publish its content as a new version", c.old.Version),
	})
}

func (c *check) created() {
	created := c.next.CreatedAt
	if c.old != nil && created.Before(c.old.CreatedAt) {
		c.add(Finding{
			Rule: "created", By: c.old.CreatedAt.Sub(created),
			Message: fmt.Sprintf("created_at is %s, before that of version %d", formatTime(created), c.old.Version),
			Fix:     "correct the clock of this machine or of the one that wrote the previous version, and make the version again",
		})
	}
	if latest := c.now.Add(c.policy.Skew); created.After(latest) {
		c.add(Finding{
			Rule: "created", By: created.Sub(latest),
			Message: fmt.Sprintf("created_at is %s, which is in the future", formatTime(created)),
			Fix:     "correct the clock and make the version again",
		})
	}
	if earliest := c.now.Add(-c.policy.Propagation); c.direct() && created.Before(earliest) {
		c.add(Finding{
			Rule: "created", By: earliest.Sub(created),
			Message: fmt.Sprintf("created_at is %s, longer ago than propagation: the schedule is out of date", formatTime(created)),
			Fix:     "make the version again and publish it immediately",
		})
	}
}

func (c *check) dropped() {
	for _, k := range c.old.Keys {
		if k.Public == nil || c.next.key(k.ID()) != nil {
			continue
		}
		why := "its tokens may be valid until %[2]s"
		if !k.RevokedAt.IsZero() {
			why = "a file that still has it could bring it back until %[2]s"
		}
		c.add(k.tooEarly("dropped", c.now, k.RemoveAt, "it is left out at %[1]s: "+why,
			"keep the key in the manifest until its remove_at; keys rotate drops it then")...)
	}
}

// revived checks that dropped keys stay what they are.
func (c *check) revived() {
	for _, k := range c.next.Keys {
		if before := c.old.dropped(k.Public); before != nil {
			c.add(Finding{
				Rule: "revived", KeyID: k.ID(),
				Message: fmt.Sprintf("it was removed at %s, and dropped; it is among the keys again", formatTime(before.RemoveAt)),
				Fix:     "take the key out; a new key takes its place",
			})
		}
	}
	for _, k := range c.next.Dropped {
		before, known := c.old.dropped(k.Public), c.old.key(k.ID())
		if known != nil && !known.RevokedAt.IsZero() {
			c.add(Finding{
				Rule: "revoked", KeyID: k.ID(),
				Message: fmt.Sprintf("it was revoked at %s, and is kept for recovery", formatTime(known.RevokedAt)),
				Fix:     "leave the key out",
			})
		}
		if c.direct() && before == nil && known == nil {
			c.add(Finding{
				Rule: "revived", KeyID: k.ID(),
				Message: "it is dropped, and the previous version does not have it: it may have been revoked",
				Fix:     "leave the key out",
			})
		}
		if before != nil && (!before.Public.Equal(k.Public) || k.RemoveAt.After(before.RemoveAt)) ||
			known != nil && !known.Public.Equal(k.Public) {
			c.add(Finding{
				Rule: "revived", KeyID: k.ID(),
				Message: "it is dropped, and its public key differs from the previous version, or it stays longer",
				Fix:     "put the old values back, or leave the key out",
			})
		}
	}
}

// unchanged checks what must not change in place.
func (c *check) unchanged(before, k *Key) {
	changed := func(what string) {
		c.add(Finding{
			Rule: "changed", KeyID: k.ID(),
			Message: what + " differs from the previous version",
			Fix:     "put the old value back; add a new key for the new value",
		})
	}
	if !before.Public.Equal(k.Public) {
		changed("its public key")
	}
	if before.Imported != k.Imported {
		changed("imported")
	}
	if before.Bootstrap != k.Bootstrap {
		changed("bootstrap")
	}
	if !before.PublishAt.Equal(k.PublishAt) && !before.PublishAt.After(c.now) {
		changed("publish_at, an instant that has passed,")
	}
	// A key that can no longer sign needs no private part, and one that turns
	// up in its place changes nothing for a consumer.
	lost := before.Private != nil && k.Private == nil || before.Signer != "" && before.Signer != k.Signer
	if lost && c.now.Before(k.signsUntil()) {
		changed("where its private part is")
	}
	if revoked := before.RevokedAt; !revoked.IsZero() && (k.RevokedAt.IsZero() || k.RevokedAt.After(revoked)) {
		c.add(Finding{
			Rule: "revoked", KeyID: k.ID(),
			Message: fmt.Sprintf("its revocation at %s is withdrawn or postponed: consumers would again accept what a thief signs", formatTime(revoked)),
			Fix:     "put revoked_at back; a new key takes over instead",
		})
	}
}

// renewal checks that remove_at never moves to an earlier instant, and that the
// news of a later one arrives in time.
func (c *check) renewal(before, k *Key) {
	c.add(k.tooEarly("rule-3", k.RemoveAt, before.RemoveAt,
		"remove_at is %[1]s, but tokens were signed that rely on %[2]s",
		"put remove_at back; it may only move to a later instant")...)
	if !c.direct() || !k.RemoveAt.After(before.RemoveAt) || !c.now.Before(k.signsUntil()) {
		return
	}
	c.add(k.tooEarly("renewal", before.RemoveAt, c.now.Add(c.policy.Propagation+c.policy.Skew),
		"its remove_at is moved to a later instant, but a replica without that news removes it from the JWK Set at %[1]s; the last replica gets the news by %[2]s",
		"let the key expire, and publish a new one")...)
}

// published checks rule 1 for the instant at which the key is really published.
// If that has not changed, the policy of next decides.
func (c *check) published(before, k *Key) {
	policy, published := c.policy, k.PublishAt
	switch isNew := before == nil || before.PublishAt.After(c.now); {
	case !isNew && !k.ActivateAt.Before(before.ActivateAt):
		policy = c.next.Policy
	case !isNew, c.old == nil && !c.direct():
	case c.old == nil:
		if !c.anyBootstrap() {
			published = later(published, c.now)
		}
	case before == nil:
		published = c.brought(k)
	default:
		published = later(published, c.now)
	}
	c.add(k.rule1(published, policy)...)
}

// anyBootstrap reports whether no consumer exists yet.
func (c *check) anyBootstrap() bool {
	for _, k := range c.next.Keys {
		if k.Bootstrap {
			return true
		}
	}
	return false
}

// brought returns when a key that old lacks is published, and checks that
// publish_at agrees, as later versions rely on it.
func (c *check) brought(k *Key) time.Time {
	if k.Bootstrap {
		c.add(Finding{
			Rule: "bootstrap", KeyID: k.ID(),
			Message: "it is marked bootstrap, but consumers exist already and do not have it",
			Fix:     "remove bootstrap, and set activate_at as rule 1 demands",
		})
	}
	since, published := c.old.CreatedAt, k.PublishAt
	if c.direct() {
		since, published = c.next.CreatedAt, later(published, c.now)
	}
	c.add(k.tooEarly("rule-1", k.PublishAt, since,
		"publish_at is %[1]s, but the key was not published before %[2]s",
		"set publish_at to created_at or later")...)
	return published
}

// promises checks rule 2, and that no promise is forgotten.
func (c *check) promises(before, k *Key) {
	if before != nil {
		c.add(k.tooEarly("lease", k.PromisedUntil, later(before.PromisedUntil, before.SignUntil),
			"promised_until is %[1]s, but the previous version lets a replica that is cut off sign until %[2]s",
			"set promised_until to the later instant; only sign_until may move to an earlier one")...)
	}
	c.add(k.rule2(c.policy)...)
}

func (c *check) signing() {
	ceases := c.next.SignsUntil(c.now)
	wanted, warning := c.now.Add(time.Second), true
	if c.old != nil && c.old.CurrentAt(c.now) != nil {
		wanted, warning = c.old.SignsUntil(c.now), c.revokes()
		// Leases end at whole seconds.
		if lease := c.now.Truncate(time.Second).Add(c.next.Policy.Lease); lease.Before(wanted) {
			wanted = lease
		}
	}
	if !ceases.Before(wanted) {
		return
	}
	f := Finding{
		Rule: "signing", Warning: warning,
		Message: fmt.Sprintf("no key may sign from %s on: creating sessions answers 503", formatTime(ceases)),
		Fix:     "activate a next key if there is one, or publish a new one, which signs once every cache can hold it",
	}
	if again := c.next.signsAgain(ceases); !again.IsZero() {
		f.Message = fmt.Sprintf("no key may sign from %s until %s: creating sessions answers 503 meanwhile", formatTime(ceases), formatTime(again))
		f.Fix = "activate a next key if that makes one sign earlier; otherwise, wait"
		if c.old == nil {
			f.Fix = "wait until then, or bootstrap the first key if no consumer has fetched keys of this issuer yet"
		}
	}
	if !warning {
		f.By = wanted.Sub(ceases)
		f.Fix = "renew the lease of the key that signs, or let its successor take over before that ends"
	}
	c.add(f)
}

// revokes reports whether next revokes a key that old does not.
func (c *check) revokes() bool {
	for _, k := range c.old.Keys {
		if now := c.next.key(k.ID()); now != nil && k.RevokedAt.IsZero() && !now.RevokedAt.IsZero() {
			return true
		}
	}
	return false
}

func (c *check) standby() {
	for _, k := range c.next.Keys {
		if k.signable() && k.ActivateAt.After(c.now) && c.now.Before(k.signsUntil()) {
			return
		}
	}
	c.add(Finding{
		Rule: "standby", Warning: true,
		Message: "there is no next key: if the current key had to be revoked, nothing could sign",
		Fix:     "rotate the keys; if they are in a device, make a new key there and add it",
	})
}
