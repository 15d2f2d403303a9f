// Package keyset keeps an issuer's JWK Set for a verifier: it fetches the set
// over HTTP, refreshes it before it gets old, survives an outage of the issuer
// for a bounded time, and keeps a copy on disk for a restart in the middle of
// one.
//
//   - source.go decides when to fetch, who waits, and which set is in use;
//   - fetch.go makes one request and reads what it answers;
//   - cached.go is a JWK Set with its age;
//   - snapshot.go is the copy on disk.
package keyset
