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
//     not expired, not from the future, not longer than allowed.
//
// A token has one spelling. Changing any character of it, also one that a
// lenient decoder would ignore, makes it invalid.
//
// # Trust
//
// Trust comes from [Config] alone: the issuer's URL, fetched over https. A key
// or an address that a token brings along is never used. Algorithms are a
// closed list without symmetric ones and without "none", and every key is for
// exactly one of them. Keys that are not sound are not used; see package jwk.
//
// # When the issuer is down
//
// Keys are fetched ahead of time in the background, by one request for all
// callers. When that fails, the last good set serves on until it is MaxStale
// past its freshness; then the error is [ErrKeysUnavailable], which the
// middleware answers with 503. It never says 401 for lack of keys. A verifier
// that starts without a reachable issuer heals by itself.
//
// An unknown key ID asks for the set again, but at most once in 30 seconds,
// whatever strangers send.
package verify
