//go:build !race

package customers_test

const crowdSize = 1_000_000
