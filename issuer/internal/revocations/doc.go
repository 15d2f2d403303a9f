// Package revocations keeps the log of what has been ended: sessions, all
// sessions of a customer or an API key, signing keys. Issuing a session writes
// nothing. Ending one appends one small entry, and no entry outlives the longest
// possible token, so the log stays small.
//
// Beside the log are the redemptions of codes, see [Redemptions]: they are nobody's
// news, and kept for half an hour.
//
// Where both live is the operator's choice: see [NewMemory], [NewFile] and
// [NewPostgres]. All keep one contract, that of [Log], and one conformance suite
// holds them to it.
package revocations
