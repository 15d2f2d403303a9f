package ratelimit

import (
	"math"
	"net/netip"
	"time"
)

// ClientKey returns the key under which a client's address is limited: the
// address itself for IPv4, also when it is written as IPv6 (RFC 4291, Section
// 2.5.5.2), and the /64 network for IPv6, because a single subscriber is given
// at least that many addresses (RFC 6177, Section 2). Zones are dropped. All
// invalid addresses share the zero Prefix.
func ClientKey(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	// The only error is that of an invalid address, which comes with the zero
	// Prefix.
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// RetryAfterSeconds returns d as the delay-seconds of a Retry-After header
// (RFC 9110, Section 10.2.3): rounded up, and at least 1.
func RetryAfterSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}
