// Package feed is what a replica knows about the log of revocations: it follows
// the log, answers what has been ended, ends more, and makes the answers that
// consumers follow.
//
// Everything that a replica says about the log has an age: the time since its
// last complete read began. A [Follower] refuses to say anything when that is too
// long ago.
package feed
