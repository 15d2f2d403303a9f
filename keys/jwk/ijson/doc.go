// Package ijson reads JSON strictly, for input that security depends on.
//
// It accepts a subset of what encoding/json accepts, close to the I-JSON of
// RFC 7493, so that no two readers understand one text differently:
//
//   - valid UTF-8 throughout, no byte order mark, no lone surrogates
//     (RFC 7493, Section 2.1);
//   - no member name twice in one object, at any level, compared after
//     unescaping (RFC 7493, Section 2.3);
//   - an object at the top, and nothing but white space after it;
//   - bounded depth and a bounded number of members.
//
// [Members] walks the members of the top-level object, and does not allocate
// unless a name needs unescaping; it reads tokens, JWK Sets and request bodies.
// [Unmarshal] fills a struct, for files that people write: it also refuses
// members that the struct does not have.
//
// Every function is safe for concurrent use.
package ijson
