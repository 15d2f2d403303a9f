package keys

import (
	"bytes"
	"fmt"
	"time"
)

// Check decides whether next may follow old, which is valid, when it is
// published at now. A nil old means that there is none: next is the first
// version of an installation, or, when its number is not 1, one of which the
// version before is not known, so that only next itself is checked.
//
// Who makes a version passes the time of the clock. A replica that reads what
// others published passes next.CreatedAt: news may come late, and what the
// others took must not be refused for that. So all replicas that come from
// the same version decide alike. A replica that missed versions in between
// takes on trust when a key of those was published.
//
// The rules, by the name that a finding has:
//
//   - manifest: next is sound by itself, as in [Manifest.Validate].
//   - version: version numbers go up. A rollback is a new version as well.
//   - created: created_at is the instant at which next is published.
//   - rule-1: activate_at is at or after publication, propagation, cache and
//     skew. A key is not published before the manifest that brings it.
//   - rule-2: remove_at is at or after promised_until + max_lifetime + 2 * skew.
//   - rule-3: remove_at never moves to an earlier instant, as exp of a token
//     that was signed under old may be as late as remove_at - skew allowed.
//   - lease: promised_until is at or after every sign_until ever promised.
//   - renewal: a key that signs and whose remove_at is put off is still in the
//     JWK Set of every replica when the news arrives.
//   - changed: no key is changed in place: its public half, publish_at (once
//     that has passed), bootstrap and imported stay, and so does where its
//     private part is, until it can sign no more.
//   - dropped: no key is left out before its remove_at. A revoked one is none
//     the less listed until then, so that no rollback brings it back.
//   - revoked: a revocation is not taken back and not put off.
//   - bootstrap: only a key of the first version is marked so.
//   - signing: signing goes on as long as it would have with old, or for one
//     lease. It is a warning when a revocation is the reason, or when old
//     could not sign either.
//   - standby: a next key waits for an emergency. Always a warning.
//
// Where the policies differ, the larger of both values counts: caches and
// tokens made under old are still about. To lower cache or propagation, and
// then to publish a key that relies on it, wait for the old values in between.
//
// Rule 4 is kept by [Manifest.MaxAge] in any version. A JWK Set cannot hold a
// private part: it is made of [jwk.Key], which has none.
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
		Message: fmt.Sprintf("version %d cannot follow version %d: somebody else wrote in between, or an old file was put back",
			c.next.Version, c.old.Version),
		Fix: fmt.Sprintf("start again from version %d; to go back to what an earlier version said, publish that as a new version", c.old.Version),
	})
}

func (c *check) created() {
	created := c.next.CreatedAt
	if c.old != nil && created.Before(c.old.CreatedAt) {
		c.add(Finding{
			Rule: "created", By: c.old.CreatedAt.Sub(created),
			Message: fmt.Sprintf("created_at is %s, before that of version %d", formatTime(created), c.old.Version),
			Fix:     "set the clock right, of this machine or of the one that wrote the version before, and make the version again",
		})
	}
	if latest := c.now.Add(c.policy.Skew); created.After(latest) {
		c.add(Finding{
			Rule: "created", By: created.Sub(latest),
			Message: fmt.Sprintf("created_at is %s, which is still to come", formatTime(created)),
			Fix:     "set the clock right and make the version again",
		})
	}
	if earliest := c.now.Add(-c.policy.Propagation); c.direct() && created.Before(earliest) {
		c.add(Finding{
			Rule: "created", By: earliest.Sub(created),
			Message: fmt.Sprintf("created_at is %s: made longer ago than propagation, the schedule is out of date", formatTime(created)),
			Fix:     "make the version again and publish it at once",
		})
	}
}

func (c *check) dropped() {
	for _, k := range c.old.Keys {
		if k.Public == nil || c.next.key(k.ID()) != nil {
			continue
		}
		why := "tokens of it may be alive until %[2]s"
		if !k.RevokedAt.IsZero() {
			why = "a file that still has it could bring it back until %[2]s"
		}
		c.add(k.tooEarly("dropped", c.now, k.RemoveAt, "it is left out at %[1]s: "+why,
			"keep the key in the manifest until its remove_at; rotating drops it then")...)
	}
}

// unchanged checks what must not change in place.
func (c *check) unchanged(before, k *Key) {
	changed := func(what string) {
		c.add(Finding{
			Rule: "changed", KeyID: k.ID(),
			Message: what + " differs from the version before",
			Fix:     "put back what it was; what is wanted instead is a key of its own",
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
	// Who cannot sign any more needs no private part; one that turns up in
	// its place changes nothing that a consumer sees.
	lost := before.Private != nil && k.Private == nil || before.Signer != "" && before.Signer != k.Signer
	if lost && c.now.Before(k.signsUntil()) {
		changed("where its private part is")
	}
	if revoked := before.RevokedAt; !revoked.IsZero() && (k.RevokedAt.IsZero() || k.RevokedAt.After(revoked)) {
		c.add(Finding{
			Rule: "revoked", KeyID: k.ID(),
			Message: fmt.Sprintf("it is revoked since %s, and that is taken back or put off: consumers would again accept what a thief signs", formatTime(revoked)),
			Fix:     "put revoked_at back; a new key takes over instead",
		})
	}
}

// renewal checks that remove_at never moves to an earlier instant, and that
// the news of a later one arrives in time.
func (c *check) renewal(before, k *Key) {
	c.add(k.tooEarly("rule-3", k.RemoveAt, before.RemoveAt,
		"remove_at is %[1]s, but tokens were signed for as long as the key stays until %[2]s",
		"put remove_at back; it may only move to a later instant")...)
	if !c.direct() || !k.RemoveAt.After(before.RemoveAt) || !c.now.Before(k.signsUntil()) {
		return
	}
	c.add(k.tooEarly("renewal", before.RemoveAt, c.now.Add(c.policy.Propagation+c.policy.Skew),
		"its remove_at is put off, but a replica that has not heard of that takes it out of the JWK Set at %[1]s; the last one hears at %[2]s",
		"let the key go, and publish a new one")...)
}

// published checks rule 1 for when the key is really published. Where nothing
// of that changed, it is what the policy of next says.
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

// brought returns when a key that old has not is published, and checks that
// publish_at does not say otherwise: later versions will rely on it.
func (c *check) brought(k *Key) time.Time {
	if k.Bootstrap {
		c.add(Finding{
			Rule: "bootstrap", KeyID: k.ID(),
			Message: "it is marked bootstrap, but consumers exist already, and do not know it",
			Fix:     "remove bootstrap, and set activate_at as rule 1 wants it",
		})
	}
	since, published := c.old.CreatedAt, k.PublishAt
	if c.direct() {
		since, published = c.next.CreatedAt, later(published, c.now)
	}
	c.add(k.tooEarly("rule-1", k.PublishAt, since,
		"publish_at is %[1]s, but nobody saw the key before %[2]s",
		"set publish_at to created_at or later")...)
	return published
}

// promises checks rule 2, and that no promise is forgotten.
func (c *check) promises(before, k *Key) {
	if before != nil {
		c.add(k.tooEarly("lease", k.PromisedUntil, later(before.PromisedUntil, before.SignUntil),
			"promised_until is %[1]s, but a replica that was cut off may sign until %[2]s, as the version before said",
			"set promised_until to the later instant; only sign_until may be cut short")...)
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
		Message: fmt.Sprintf("no key may sign from %s on, and sessions are answered with 503", formatTime(ceases)),
		Fix:     "activate a next key if there is one, or publish a new one; it signs once every cache can hold it",
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
		Message: "no next key is there: should the key that signs have to be revoked, nothing can sign in its place",
		Fix:     "rotate the keys; where keys are made in a device, publish a new one from there",
	})
}
