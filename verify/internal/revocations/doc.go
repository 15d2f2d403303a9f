// Package revocations follows the feed in which an issuer says which sessions
// have been ended, and answers whether a session is one of them.
//
//   - source.go is for callers: who waits, and for how long;
//   - follow.go asks again and again, and says when;
//   - fetch.go makes one request, and parse.go reads its answer;
//   - knowledge.go is what is known and how old it is: which answer of the feed
//     is taken, what to ask next. It has no clock and does no I/O;
//   - instant.go is a reading of two clocks;
//   - set.go is the set of what has been ended, and subject.go what of a session
//     can be in it;
//   - snapshot.go is the copy on disk;
//   - health.go is what operators see.
package revocations
