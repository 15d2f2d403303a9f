//go:build race

package customers_test

// crowdSize is smaller under the race detector, which is many times slower.
const crowdSize = 100_000
