// Package ratelimit holds one token bucket for each of many callers, in
// bounded memory.
//
// The buckets themselves are those of golang.org/x/time/rate. This package
// keeps them apart by key, says how long a refused caller should wait, and
// forgets callers that have been away:
//
//	limiter := ratelimit.New[netip.Prefix](5, 10, 65_536)
//	wait, ok := limiter.Allow(ratelimit.ClientKey(addr))
//	if !ok {
//		header.Set("Retry-After", strconv.Itoa(ratelimit.RetryAfterSeconds(wait)))
//	}
//
// # What is forgotten, and what that gives away
//
// A limiter holds at most a fixed number of buckets. A bucket that has had the
// time to fill up again is dropped first: its caller would find a full bucket
// either way, so nothing is lost. Only when every bucket is still in use, a new
// caller takes the place of the one that asked least recently.
//
// So an attacker with many addresses cannot make memory grow. To have one of
// his buckets forgotten while it is empty, he must ask from as many other keys
// as the limiter holds buckets, within the time that the bucket takes to fill;
// and whoever holds that many keys may send that many bursts anyway. Refusing
// new callers instead would let the same attacker lock everyone else out.
package ratelimit
