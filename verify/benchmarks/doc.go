// Package benchmarks compares package verify with the signature check that no
// verifier can do without, and with the libraries that a service would use
// instead. It is a module of its own so that those libraries are no
// dependencies of ours.
//
//	go test -run '^$' -bench . -benchtime 2s -count 3 | go run ./chart -svg ../../deploy/verify-speed.svg
//
// prints the table of the README and draws the chart.
//
// # What is compared
//
// All contestants get the same tokens, and return the same: customer, session,
// organization and return URL. Each is set up for safe use as its documentation
// recommends, and checks algorithm, issuer, audience and expiry; a test shows
// that it refuses what it must. The issuer's key set, with one key in use and
// one for later, was fetched over loopback before; go-jose, which does not
// fetch, is given it.
//
//   - raw: the standard library on the same bytes: hash, and check the
//     signature. Nothing is decoded, parsed or looked up.
//   - ours: package verify with its defaults.
//   - uncached: the same without the token cache.
//   - keyfunc: golang-jwt v5, with the key set of MicahParks/keyfunc v3.
//   - jwx: lestrrat-go/jwx v3.
//   - go-jose: go-jose v4.
//   - go-oidc: coreos/go-oidc v3, which is made for ID tokens: it lets a
//     client check the same claims.
//
// # How it is measured
//
// On a machine that others use too, two figures taken one after the other say
// little about their ratio. So contestants take turns within one benchmark:
// each round gives every one of them the same few tokens, in an order that is
// drawn anew. What is reported is the median over all rounds, and for ratios
// the median of the ratios within the rounds. Garbage collection is thereby
// mostly left out, which favours those who make more of it.
//
// For one processor, set GOMAXPROCS=1: with testing.B.Loop, the first of several
// -cpu values is measured with another one's.
package benchmarks
