// Package revocations follows the feed in which an issuer says which sessions
// have been ended, and answers whether a session is one of them.
//
//   - knowledge.go is what is known and how old it is: which answer of the feed
//     is taken, what to ask next. It has no clock and does no I/O;
//   - set.go is the set of what has been ended;
//   - subject.go is what of a session can be in it;
//   - snapshot.go is the knowledge for a restart.
package revocations
