// Package verify accepts customer sessions in any service: from a cached JWK
// Set, without a database, without a call to the issuer, without a secret.
//
//	v, err := verify.New(verify.Config{
//		Issuer:   "https://sessions.example.com",
//		Audience: "customer-portal",
//	})
//	…
//	mux.Handle("/account", v.Middleware(account)) // verify.FromContext(r.Context())
//
// # Ways in
//
//   - [Verifier.Verify] takes a token and returns a [Session] or an error.
//   - [Verifier.Middleware] guards an [net/http.Handler];
//     [Verifier.NewMiddleware] does so with scopes, with optional credentials, with
//     the portal's cookie, or with error pages of its own.
//   - [Verifier.SignIn] and [Verifier.SignOut] are the portal's side of a link.
//   - Package echoverify is for Echo, package grpcverify for gRPC.
//   - Package verifytest is an issuer in memory for the tests of your service,
//     and a catalogue of attacks to measure any verifier with.
//
// Make one Verifier and share it; Close ends its goroutine.
//
// # What is checked, in this order
//
// Every step costs no more than the token is long, and less than the next one:
//
//  1. length, at most 4096 bytes;
//  2. characters: base64url and exactly two dots;
//  3. header: strict JSON of exactly "alg", "kid" and "typ";
//  4. key: "kid" names it, and "alg" must be the one that it is for;
//  5. signature: canonical base64url of exactly the right length, and valid;
//  6. payload: strict JSON, not looked at before;
//  7. claims: all of ours present and well formed, this issuer, this audience,
//     not expired, not from the future, not longer than allowed;
//  8. revocation, with Config.IsRevoked.
//
// Strict JSON has one meaning for every reader: see package ijson. A token has
// one spelling. Changing any character of it, also one that a lenient decoder
// would ignore, makes it invalid.
//
// # Trust
//
// Trust comes from [Config] alone: the issuer's URL, fetched over https. A key
// or an address that a token brings along is never used. Algorithms are a
// closed list without symmetric ones and without "none", and every key is for
// exactly one of them. Keys that are not sound are not used; see package jwk.
// What a token says before its signature was checked is never returned, logged
// or put into an error.
//
// # Errors
//
// Every error wraps one of this package's, and golang-jwt's where there is one:
// [errors.Is] with [ErrExpired] and with [jwt.ErrTokenExpired] both hold. Tell
// two kinds apart: [ErrKeysUnavailable] means "cannot tell" (503, try again),
// every other one means "no" (401). A client should not learn which one.
//
// # Keys
//
// New does no I/O. The first token fetches the issuer's JWK Set, in one request
// for all callers, and from then on it is fetched anew in the background
// before it gets old. How long it may be used is what the issuer's
// Cache-Control says, within one minute and one hour.
//
// An unknown key ID asks for the set at once, because a new key may just have
// been published; but at most once in 30 seconds, whatever strangers send, and
// a bad signature never does. A document that is no JWK Set, contradicts itself
// or is too large never replaces a good one.
//
// # When the issuer is down
//
// The last good set serves on, until Config.MaxStale after it got old; then the
// error is ErrKeysUnavailable. It is never 401 for lack of keys. Recovery needs
// nobody. [Verifier.Health] tells how it stands, and Config.Logger and
// Config.Observer when it changes.
//
// Three ways survive even a start during an outage: Config.SnapshotFile keeps
// the last good set on disk, Config.Keys has keys in the program, and without
// either the verifier heals by itself. [Verifier.Ready] is for a readiness probe.
//
// # What it costs
//
// A token that was not seen before costs its signature check, about a
// microsecond and four allocations. A token that was seen costs a hash: it is
// remembered, byte by byte and not only by that hash, until it expires, and each
// time its key, its expiry and its revocation are checked again. A burst of
// calls with one new token costs one signature check. Garbage costs no
// allocation. The cache holds Config.CacheSize tokens, up to three kilobytes each,
// and only good ones.
//
// # Tuning
//
// The defaults suit nearly everybody. Leeway is for clocks that are apart;
// raise it only when they are. MaxStale is how long an outage may last, and how
// long a consumer that is cut off may accept a key that was revoked. CacheSize
// should exceed the number of sessions that are active at one time; more is of
// no use.
//
// # Compatibility
//
// The exported names follow semantic versioning. The checks do not: a token
// that should not have been accepted may be refused by the next version.
package verify
