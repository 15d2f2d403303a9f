// Package keys is the private side of signing keys: which key signs at which
// instant, for how long its public half is published, and the signing itself.
//
// # One document, one clock
//
// A key set is one immutable, versioned document, the [Manifest]: the same file
// for every replica. What a key may do at an instant is a function of the
// manifest and that instant alone ([Manifest.StateAt]), so replicas need no
// leader, no lock and no message. [Init] makes the first manifest, a [Store],
// such as a [File], keeps it, and [ParseManifest] reads and checks one.
//
// A running issuer holds a [Ring], made from a manifest by [Load] or
// [NewRing]: [Ring.SigningKey] is the key to sign with now, [NewHandler]
// serves the JWK Set to consumers, and a new manifest is a new Ring.
//
// # The life of a key
//
//	publish_at      activate_at        sign_until     promised_until  remove_at
//	    |               |                  |                |             |
//	----+---- next -----+----- current ----+------- retired -------------+------
//	    |               |   the newest     |                |             |
//	    |<- P + C + S ->|   active signs   |                |<- T + 2S -->|
//	    |            rule 1                |                |   rule 2    |
//
// Before publish_at a key is scheduled, from remove_at on it is removed; both
// mean that no consumer sees it. From revoked_at on, whatever else it was, it
// is revoked. A next key is published before it signs, so that every cache
// holds it when its first token arrives and so that an emergency can activate
// it at once. A retired key is published for the tokens it has signed.
//
// sign_until is a lease: rotating renews it again and again, and a replica
// that was cut off from new manifests stops at the last one it heard of.
// promised_until is the latest lease that any version ever promised. The two
// differ when a lease is cut short: a replica that has not heard of it may
// still sign until promised_until.
//
// P, C, S and T are the policy's propagation, cache, skew and max_lifetime.
// The rules, of which a manifest by itself can break the first two:
//
//  1. activate_at is at or after publish_at + P + C + S: no key signs before
//     every cache can hold it. A key marked bootstrap is exempt: when the
//     first set of an installation is made, no consumer exists yet.
//  2. remove_at is at or after promised_until + T + 2S: no key leaves before
//     its last token.
//  3. The exp of a token is at or before remove_at - S of its key:
//     [SigningKey].LatestExpiry.
//  4. The max-age of the JWK Set is at most C, and ends at the next change
//     that no rule above covers, such as a revocation: [Manifest.MaxAge].
//
// Rule 1 holds for the policy that the manifest states. To raise propagation
// or cache, wait until the keys that were published too late for the new
// values are removed; the message of [Manifest.Validate] names them.
//
// # How long a set lasts
//
// With [DefaultPolicy], the second key takes over 30 days after the first, and
// the leases that [Init] gives out end one week after that: a set that nobody
// ever rotates signs for 37 days, then not at all. The same holds for a replica
// that hears of nothing new: it stops when the leases end that it knows of, at
// the latest one lease after the next key's takeover.
//
// # From one version to the next
//
// [Rotate] makes the next version when one is due: it publishes a next key,
// renews leases and drops dead keys. [Check] decides whether the step from one
// version to the next is safe, whoever made it, and says which rule breaks, by
// how much, and what to do. A model test searches every state of a small fleet:
// no replica refuses what was published, and no token is refused or accepted
// that should not be.
//
// # Imported keys
//
// A key marked imported was adopted from another issuer. It keeps the key ID
// it had there, is published for the verifiers that still hold its tokens, has
// no private part and never signs. It counts as retired from publish_at to
// remove_at.
//
// # Secrets
//
// Private parts are in the manifest, or elsewhere behind a [Signer] that the
// manifest refers to by a URI. A manifest without any private part is a
// public copy: all can be told from it, and nothing signed. A [PrivateKey]
// prints as "[redacted]", and no error of this package holds a part of one.
package keys
