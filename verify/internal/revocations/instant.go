package revocations

import "time"

// An Instant is a reading of two clocks. The monotonic one cannot be set, and
// stands still while the machine is suspended; the wall clock does the reverse.
type Instant struct {
	// Monotonic is the time since any fixed moment of this process.
	Monotonic time.Duration
	Wall      time.Time
}

// Since returns how much time has passed since an earlier instant: the larger of
// what the two clocks say, so that no clock that stood still or was set back
// makes knowledge look younger than it is.
func (i Instant) Since(earlier Instant) time.Duration {
	return max(i.Monotonic-earlier.Monotonic, i.Wall.Sub(earlier.Wall))
}
