// Package verify accepts customer sessions in any service. It needs the
// issuer's public keys, which it fetches and caches, and follows the issuer's feed
// of sessions that have ended: no database, no call to the issuer for each request,
// no shared secret.
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
//     [Verifier.NewMiddleware] does so with scopes, with optional credentials,
//     with the portal's cookie, or with error pages of its own.
//   - [Verifier.NewSignIn] and [Verifier.SignOut] are the portal's side of a link:
//     see "Signing in". Signing out ends the session everywhere.
//   - [Verifier.User] returns the name and the e-mail address of the customer, for a
//     page to show, and [Token] the token, for code that calls the issuer itself.
//   - [Verifier.SessionContext] is for what lasts longer than its request.
//   - Package echoverify is for Echo, package grpcverify for gRPC.
//   - Package verifytest is an issuer in memory for the tests of a service,
//     and a catalogue of attacks to measure any verifier with.
//
// Make one Verifier and share it. Close stops it.
//
// # What is checked, in this order
//
// Each step costs no more than the length of the token, and less than the next:
//
//  1. Length: at most 4096 bytes.
//  2. Characters: three segments of canonical base64url.
//  3. Header: strict JSON of exactly "alg", "kid" and "typ".
//  4. Key: "kid" names it, and "alg" must be its one algorithm.
//  5. Signature: of exactly the right length, in its one spelling, and valid.
//  6. Payload: strict JSON, not read before.
//  7. Claims: all required ones present and well formed, this issuer, this
//     audience, not expired, not from the future, not longer than allowed.
//  8. Revocation: the issuer's feed, and Config.IsRevoked.
//
// Strict JSON means the same to every reader: see package ijson. A token has
// one spelling: changing any character makes it invalid, even one that a
// lenient decoder would ignore.
//
// A token that was verified before is found by the whole of its bytes. It skips
// the steps that depend on nothing else; its key, its expiry and its revocation
// are checked each time.
//
// # The walk of a token
//
// verifier.go has the steps, as one function, in that order. It calls jws.go for
// steps 2 and 3, keys.go for step 4 (and package internal/keyset, where keys
// come from an issuer), claims.go for steps 6 and 7, revocations.go (and package
// internal/revocations) for step 8. What was verified goes into cache.go, and to the
// caller as a copy: session.go. handler.go, signin.go and signout.go are in front of
// all that, for requests, and share cookie.go; sessioncontext.go and user.go
// come after it.
//
// A link is parsed in signin.go. exchange.go calls the issuer, to redeem a code and to
// send a new link, and signinpage.go is what the person sees.
//
// # Signing in
//
// The landing route of a portal is a [Verifier.NewSignIn], and its pages are behind a
// middleware with MiddlewareConfig.Cookie:
//
//	account := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(pages)
//	mux.Handle("/portal", v.NewSignIn(verify.SignInConfig{Next: account}))
//	mux.Handle("/sign-out", v.SignOut("/signed-out"))
//
// A link goes through mail, chats and scanners before a person opens it. So an image,
// a frame, a script, a prefetch or a HEAD request does not sign in. A page with a
// button comes first for every code, and before another customer's live session is
// replaced. A scanner may see that page; only its form signs in.
//
// A link with a token is good for as long as its session, for anyone who finds it. A
// link with a code is good once, for ten minutes: the portal's server exchanges it with
// an API key that the browser never sees, from the file that SignInConfig.Exchange
// names. If the answer to an exchange is lost, the same page can try again within a
// minute and gets the same session.
//
// A link that has expired, or whose code was used, gets a page with a button that asks
// the issuer for a new link, which goes to the customer and not to this browser. In a
// browser where the same customer is still signed in, it leads to the portal instead.
//
// SignInConfig.Page gives all these pages a look and a language; [SignInPage] has an
// example.
//
// The cookie is __Host-customer_session: Secure, HttpOnly, Lax, and for this host
// alone. On a loopback address without TLS it is customer_session, not Secure, because
// Safari takes no secure cookie there. Anywhere else, sign-in needs https.
//
// # Trust
//
// Trust comes from [Config] alone: the issuer's URL, fetched over https. A key
// or an address in a token is never used. Algorithms are a closed list without
// symmetric ones and without "none", and every key is for exactly one of them.
// Unsound keys are not used; see package jwk. Nothing of a token whose
// signature was not checked is returned, logged or put into an error.
//
// # Errors
//
// Every error wraps one of this package's, and golang-jwt's where it has one for
// the same: [errors.Is] with [ErrExpired] and with [jwt.ErrTokenExpired] both
// hold. Distinguish two kinds: [ErrKeysUnavailable] and
// [ErrRevocationsUnavailable] mean "cannot tell" (503, try again); every other
// error means "no" (401). A client should not learn which one. At debug level,
// Config.Logger gets the reason for each refusal.
//
// # Keys
//
// New does no I/O. The first token fetches the issuer's JWK Set, in one request
// for all callers; from then on it is refreshed in the background before it
// gets old. It is kept as long as the issuer's Cache-Control allows, within one
// minute and one hour.
//
// An unknown key ID fetches the set immediately, because a new key may have been
// published: at most once in 30 seconds, whatever key IDs clients invent. A bad
// signature fetches nothing. A document that is not a JWK Set, contradicts
// itself or is too large never replaces a good one.
//
// # Sessions that have ended
//
// A session ends before it expires when its customer signs out, when its link was
// stolen, when the API key that made it leaked. The issuer publishes this in a
// feed. The first token asks it; from then on a request is always open, which the
// issuer answers when there is news, so a session that was ended is refused within
// seconds. After an hour without use the verifier stops asking, and the next token
// waits for an answer, 2 seconds at most.
//
// What is known has an age: the time since the request began that brought it. When
// that is more than the issuer allows (15 minutes by default) or
// Config.MaxRevocationAge, the error is ErrRevocationsUnavailable: a verifier that
// guessed could be made to accept a stolen session by whoever can cut it off. A
// handler may demand younger knowledge: [MiddlewareConfig]. An answer that is not
// the issuer's, a copy, or incomplete changes nothing, and whatever is known to
// have ended stays so until its last token has expired.
//
// An issuer without a log says so in its feed; then nothing ends before it
// expires. An issuer of an older version has no feed: every token gets
// ErrRevocationsUnavailable until it is upgraded, unless a negative
// Config.MaxRevocationAge switches following off.
//
// # When the issuer is down
//
// The verifier goes on for the shorter of two times: keys stay in use until
// Config.MaxStale after they got old, and what is known of ended sessions until it
// is older than its limit. Then the error is ErrKeysUnavailable or
// ErrRevocationsUnavailable. Neither lack is ever a 401, and so a token with an
// unknown key gets ErrKeysUnavailable while the set cannot be refreshed. Recovery is
// automatic. [Verifier.Health] reports the state of both, and Config.Logger and
// Config.Observer are called when it changes.
//
// There are three ways to start during an outage: Config.SnapshotFile keeps the
// last good keys and the last revocations on disk, Config.Keys has keys in the
// program, and without either the verifier recovers when the issuer does.
// [Verifier.Ready] is for start-up.
//
// # What lasts longer than a request
//
// A stream, server-sent events or a WebSocket begins with a good token and must
// not go on when that is no longer good. The context of
// [Verifier.SessionContext] is done when the session expires, is revoked, or can
// no longer be judged; [context.Cause] tells which. Package grpcverify uses it.
// Sessions of open contexts keep the keys refreshed, as tokens do.
//
// # Who is signed in
//
// A session names a customer, and a member if the customer is a team, by their IDs
// alone. A page that shows a name asks [Verifier.User], which asks the issuer with
// the session's own token, once a minute for each session. Without the issuer the
// page goes on without a name: nothing else depends on it. Neither the verifier's
// log nor its errors have anything of a user.
//
// # What it costs
//
// A new token costs its signature check and 2 to 4 microseconds. A known token
// costs a hash and four look-ups, less than a microsecond, and no allocation, unless
// its session outlives the function that asked for it: then its lists, 32 bytes. A
// revocation takes 48 bytes. The cache
// holds Config.CacheSize tokens, up to three kilobytes each, and only good ones;
// when it is full, expired tokens make room first, then those not used recently.
//
// # Tuning
//
// The defaults suit almost every service. Raise Leeway only if clocks are
// further apart. MaxStale is how long an outage may last, and how long a
// consumer that is cut off may accept a revoked key; MaxRevocationAge is the same
// for sessions that have ended. CacheSize should exceed the number of sessions that
// are active at one time; more is of no use.
//
// # Compatibility
//
// The exported names follow semantic versioning. The checks do not: a token
// that should not have been accepted may be refused by the next version.
package verify
