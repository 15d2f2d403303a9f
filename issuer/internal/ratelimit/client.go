package ratelimit

import (
	"iter"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ClientAddr returns the address of the client that sent a request: the peer's,
// or, where that is one of the trusted proxies, the nearest one in X-Forwarded-For
// that is not. Entries may have a port, brackets and IPv4 written as IPv6; an
// entry that is no address ends the search, with the last address before it. The
// result has one form for each address, without a zone. It is not valid if the
// peer has no address.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := parseAddr(r.RemoteAddr)
	for addr := range forwardedFor(r.Header) {
		if !client.IsValid() || !contains(trusted, client) || !addr.IsValid() {
			break
		}
		client = addr
	}
	return client
}

// forwardedFor returns the addresses in X-Forwarded-For, the nearest first: each
// proxy adds its client to the end.
func forwardedFor(header http.Header) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, line := range slices.Backward(header["X-Forwarded-For"]) {
			for line != "" {
				comma := strings.LastIndexByte(line, ',')
				entry := strings.Trim(line[comma+1:], " \t")
				line = line[:max(comma, 0)]
				// A list may have empty elements (RFC 9110, Section 5.6.1.2).
				if entry != "" && !yield(parseAddr(entry)) {
					return
				}
			}
		}
	}
}

// parseAddr reads an address as proxies write it, such as 192.0.2.1,
// 192.0.2.1:4711, 2001:db8::1, [2001:db8::1] and [2001:db8::1]:4711. The result
// is not valid if there is none.
func parseAddr(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if strings.HasSuffix(text, "]") {
			text += ":0"
		}
		// The address is not valid if there is an error.
		withPort, _ := netip.ParseAddrPort(text)
		addr = withPort.Addr()
	}
	return canonical(addr)
}

// canonical returns an address as IPv4 where it is one (RFC 4291, Section
// 2.5.5.2), and without a zone, which is a text of the sender.
func canonical(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// contains reports whether one of the networks has addr. They may have IPv4
// addresses written as IPv6.
func contains(networks []netip.Prefix, addr netip.Addr) bool {
	mapped := netip.AddrFrom16(addr.As16())
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool {
		return n.Contains(addr) || n.Contains(mapped)
	})
}

// ClientKey returns the key under which a client's address is limited: the
// address itself for IPv4, also when it is written as IPv6, and the /64 network
// for IPv6, because a single subscriber is given at least that many addresses
// (RFC 6177, Section 2). Zones are dropped. All invalid addresses share the zero
// Prefix.
func ClientKey(addr netip.Addr) netip.Prefix {
	addr = canonical(addr)
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
