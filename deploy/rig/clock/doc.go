// Package clock builds real programs whose clock a test sets.
//
// A rehearsal of weeks must neither take weeks nor run anything but the code
// that will be deployed. So the programs stay as they are, and Go's package
// time under them is another one: [Build] compiles a command with
// `go build -overlay`, which puts changed copies of a few files of the
// standard library in the place of the originals, for this one build. What
// such a program takes for the time is then up to the environment variable
// that [Clock.Env] returns. Without that variable its clock is the real one.
//
// # What follows the clock
//
// Now, Since and Until, Sleep, timers and tickers, and what is made of them,
// such as the deadline of a context: a program that waits for a minute waits
// for a second when its clock is 60 times as fast. Wall clock and monotonic
// clock go at one speed.
//
// # What does not
//
//   - Deadlines of network connections and pipes: the runtime's poller reads a
//     clock of its own. One of 5 seconds takes 5 real seconds, at any scale.
//     One in the past still ends a call at once.
//   - Time stamps from elsewhere, such as those of files: to a fast program a
//     new file looks old. One that is ahead sees files of the past.
//   - What the program does without package time, or in C.
//   - The length of the work itself: in a program whose clock is 60 times as
//     fast, a call of 10 milliseconds lasts 0.6 seconds, and a time-out of a
//     second leaves it 16 milliseconds.
//
// The changes are exact replacements in the files of the Go installation that
// builds. Where one does not hold the text that is expected, because Go was
// changed there, the build fails and says which.
package clock
