// Package ratelimit holds one token bucket for each of many callers, in
// bounded memory.
//
// The buckets themselves are those of golang.org/x/time/rate. This package
// has one for each key, reports how long a refused caller should wait, and
// forgets idle callers:
//
//	limiter := ratelimit.New[netip.Prefix](5, 10, 65_536)
//	wait, ok := limiter.Allow(ratelimit.ClientKey(addr))
//	if !ok {
//		header.Set("Retry-After", strconv.Itoa(ratelimit.RetryAfterSeconds(wait)))
//	}
//
// # What is forgotten
//
// A limiter holds at most a fixed number of buckets. Buckets that have had time
// to fill up again are dropped first: their callers would find a full bucket
// anyway. When every bucket is in use, a new caller replaces the one that asked
// least recently.
//
// So an attacker with many addresses cannot make memory grow. To reset an empty
// bucket, the attacker must ask from as many other keys as the limiter holds
// buckets, in the time that the bucket takes to fill; with that many keys, the
// attacker may send that many bursts anyway. If new callers were refused
// instead, the same attacker could lock out everyone else.
package ratelimit
