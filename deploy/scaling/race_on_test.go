//go:build race

package scaling_test

// raceEnabled is for tests that do less work under the race detector.
const raceEnabled = true
