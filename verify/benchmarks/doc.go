// Package benchmarks compares package verify with the signature check that no
// verifier can do without, and with the libraries that a service would use
// instead. It is a module of its own so that those libraries are no
// dependencies of ours.
//
// This prints the figures behind the table of the README:
//
//	for i in 1 2 3 4 5 6; do
//		go test -run '^$' -bench . -benchtime 2s .
//	done > figures
//	go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da \
//		-row .name,/lib,/token -col /alg figures
//
// First is a token that was not seen before, Again one that was. The loop takes
// the place of -count, which would repeat the results of one run.
//
// # What is compared
//
// All contestants verify the same tokens and return the same values: customer,
// session, organization and return URL. Each is set up for safe use as its
// documentation recommends, and checks algorithm, issuer, audience and expiry; a
// test shows that it refuses bad tokens. The issuer's key set, with one key in
// use and one for later, is fetched over loopback beforehand; go-jose, which
// does not fetch, receives it from the benchmark.
//
//   - raw: the standard library hashes the same bytes and checks the
//     signature. Nothing is decoded, parsed or looked up.
//   - ours: package verify with its defaults.
//   - uncached: the same without the token cache.
//   - keyfunc: golang-jwt v5, with the key set of MicahParks/keyfunc v3.
//   - jwx: lestrrat-go/jwx v3.
//   - go-jose: go-jose v4.
//   - go-oidc: coreos/go-oidc v3, which is made for ID tokens but can check the
//     same claims.
//
// # How it is measured
//
// On a shared machine, two figures measured one after the other say little about
// their ratio. So contestants take turns within one benchmark: each round gives
// every one of them the same few tokens, in a new random order. The result is
// the median over all rounds, and for ratios the median of the ratios within the
// rounds. This mostly leaves out garbage collection, which favours contestants
// that allocate more.
//
// For one processor, set GOMAXPROCS=1: with testing.B.Loop, the first of several
// -cpu values is measured with another one's.
package benchmarks
