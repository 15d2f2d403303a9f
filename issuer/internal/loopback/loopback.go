// Package loopback reports whether a host is this machine, for which clear text
// is good enough.
package loopback

import (
	"net/netip"
	"strings"
)

// Host reports whether host, without a port, is localhost or a loopback
// address. Other names below localhost are not accepted: a resolver may look
// them up elsewhere.
func Host(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
