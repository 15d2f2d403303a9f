// Package keys is the private side of signing keys: which key signs at which
// instant, how long its public half is published, and the signing itself.
//
// # One manifest, one clock
//
// A key set is one immutable, versioned file, the [Manifest], the same for every
// replica. What a key may do at an instant is a function of the manifest and
// that instant alone ([Manifest.StateAt]), so replicas need no leader, no lock
// and no message.
//
// # From the file to a signature
//
// A manifest passes these steps, in this order. The first four are functions of
// the file and the clock alone; no device is asked about a manifest that is
// refused.
//
//  1. Parse: [ParseManifest] reads the file (format.go), a public key by package
//     jwk and a private key in the file (privatejwk.go, private.go).
//  2. Validate: [Manifest.Validate] checks the manifest by itself (validate.go)
//     and by the rules below (rules.go).
//  3. Check: [Check] decides whether it may follow the version in use (check.go).
//  4. Schedule: which key is in which state, and which one signs (schedule.go).
//  5. Open: [NewRing] opens the signers of keys that are in a device or service
//     (ring.go); one that is away is opened later (latesigner.go).
//  6. Sign: [Ring.SigningKey] is the key to sign with now (signer.go), and
//     [NewHandler] serves the JWK Set (document.go, handler.go).
//
// [Init] makes the first manifest (init.go). [Rotate] makes the next version when
// one is due: it publishes a next key, renews leases and drops removed keys
// (rotate.go). The other changes are for operators (change.go). Each is planned
// first, which [Manifest.Draft] shows, and checked; only then are new keys
// generated.
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
// Before publish_at a key is scheduled, and from remove_at on it is removed; no
// consumer sees it in these states. From revoked_at on it is revoked, whatever
// its state was. A next key is published before it signs, so that every cache
// holds it when its first token arrives, and so that it can replace the current
// key immediately in an emergency. A retired key is published for the tokens
// that it has signed.
//
// sign_until is a lease: each rotation renews it, and a replica that receives no
// new manifest stops at the last lease it knows. promised_until is the latest
// lease that any version promised. The two differ if a lease was cut short: a
// replica without that news may sign until promised_until.
//
// P, C, S and T are the policy's propagation, cache, skew and max_lifetime. The
// rules, of which a manifest by itself can break the first two:
//
//  1. activate_at is at or after publish_at + P + C + S: no key signs before
//     every cache can hold it. A key marked bootstrap is exempt: when the first
//     set of an installation is made, no consumer exists yet.
//  2. remove_at is at or after promised_until + T + 2S: no key leaves before its
//     last token expires.
//  3. The exp of a token is at or before remove_at - S of its key:
//     [SigningKey].LatestExpiry.
//  4. The max-age of the JWK Set is at most C, and ends at the next change that
//     no rule above covers, such as a revocation: [Manifest.MaxAge].
//
// Rule 1 holds for the policy in the manifest. To raise propagation or cache,
// wait until the keys that were published too late for the new values are
// removed; the error of [Manifest.Validate] names them.
//
// # How long a set lasts
//
// With [DefaultPolicy], the second key takes over 30 days after the first, and
// the leases of [Init] end one week later: a set that is never rotated signs for
// 37 days. The same holds for a replica that receives no new manifest: it stops
// when the leases that it knows end, at the latest one lease after the next
// takeover.
//
// A model test explores every state of a small fleet under these rules: no
// replica refuses a published version, and no token is wrongly refused or
// accepted.
//
// # Imported keys
//
// An imported key was adopted from another issuer. It keeps its key ID, is
// published for the verifiers of its tokens, has no private part and never
// signs. It counts as retired from publish_at to remove_at.
//
// # Secrets
//
// Private parts are in the manifest, or elsewhere behind a [Signer] that the
// manifest refers to by a URI. A manifest without private parts is a public
// copy: it shows everything and signs nothing. A [PrivateKey] prints as
// "[redacted]", and no error of this package quotes one.
package keys
