package clock

import (
	"fmt"
	"time"
)

// Variable is the environment variable that programs made by [Build] read,
// once, when they start.
const Variable = "RIG_CLOCK"

// OneThread is the environment variable that, set to anything, keeps the main
// goroutine of programs made by [Build] on one thread, so that a trace of their
// system calls can count those that it makes.
const OneThread = "RIG_ONE_THREAD"

// A Clock says which time a program takes it to be. Give all programs of a
// rehearsal the same Base, and they agree as well as machines with their clocks
// set; a different Offset for some of them is their skew.
type Clock struct {
	// Base is the real instant at which the clock was right, but for Offset.
	// Within some years of now.
	Base time.Time
	// Scale is how many times as fast as the real clock it goes; at least 1.
	Scale int64
	// Offset is how far it is ahead, in its own time; negative for behind.
	Offset time.Duration
}

// Scaled returns a clock that is right now and goes n times as fast.
func Scaled(n int64) Clock { return Clock{Base: time.Now(), Scale: n} }

// Shifted returns a clock that goes as fast as the real one and is ahead by d.
func Shifted(d time.Duration) Clock { return Clock{Base: time.Now(), Scale: 1, Offset: d} }

// Env returns the clock as a line of a program's environment.
func (c Clock) Env() string {
	return fmt.Sprintf("%s=%d,%d,%d", Variable, c.Base.UnixNano(), c.Scale, c.Offset)
}

// At returns what the clock shows at a real instant, without a monotonic
// reading.
func (c Clock) At(instant time.Time) time.Time {
	// Differences of wall clocks: programs cannot know our monotonic one.
	since := instant.UnixNano() - c.Base.UnixNano()
	return time.Unix(0, c.Base.UnixNano()+int64(c.Offset)+since*c.Scale)
}

// Now returns what the clock shows.
func (c Clock) Now() time.Time { return c.At(time.Now()) }

// Real returns how long it really takes until d has passed on the clock.
func (c Clock) Real(d time.Duration) time.Duration {
	return (d + time.Duration(c.Scale) - 1) / time.Duration(c.Scale)
}
