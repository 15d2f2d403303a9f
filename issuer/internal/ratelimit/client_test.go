package ratelimit_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/ratelimit"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	const client = "203.0.113.7"
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::ffff:192.168.0.0/112")}
	for _, test := range []struct {
		name, peer string
		lines      []string // of X-Forwarded-For
		want       string
	}{
		{"no proxy", "203.0.113.7:4711", nil, client},
		{"nobody trusted the peer", "203.0.113.7:4711", []string{"198.51.100.1"}, client},
		{"a proxy that adds nothing", "10.0.0.1:80", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1:80", []string{client}, client},
		{"with a port", "10.0.0.1:80", []string{"203.0.113.7:4711"}, client},
		{"IPv4 as IPv6", "10.0.0.1:80", []string{"::ffff:203.0.113.7"}, client},
		{"IPv4 as IPv6, in hexadecimal", "10.0.0.1:80", []string{"::FFFF:CB00:7107"}, client},
		{"IPv4 as IPv6, with a port", "10.0.0.1:80", []string{"[::ffff:203.0.113.7]:4711"}, client},
		{"a peer that is IPv4 as IPv6", "[::ffff:10.0.0.1]:80", []string{client}, client},
		{"IPv6", "10.0.0.1:80", []string{"2001:DB8:0:0::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "10.0.0.1:80", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 with a zone", "10.0.0.1:80", []string{"fe80::1%<script>"}, "fe80::1"},
		{"a network that is IPv4 as IPv6", "192.168.1.2:80", []string{client}, client},
		{"IPv6 peer", "[fd00::1]:80", []string{client}, client},
		{"a peer with a zone", "[fd00::1%eth0]:80", []string{client}, client},
		{"what the client claims", "10.0.0.1:80", []string{"198.51.100.1, 203.0.113.7"}, client},
		{"two proxies", "10.0.0.1:80", []string{"198.51.100.1, 203.0.113.7:1, 10.0.0.2:2"}, client},
		{"several lines", "10.0.0.1:80", []string{"198.51.100.1", client, "10.0.0.3,10.0.0.2"}, client},
		{"no spaces, tabs, empty elements", "10.0.0.1:80", []string{"198.51.100.1", "203.0.113.7,,\t10.0.0.2 , "}, client},
		{"all are proxies", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage from the client", "10.0.0.1:80", []string{"<script>, 203.0.113.7"}, client},
		{"garbage from a proxy", "10.0.0.1:80", []string{"203.0.113.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"nothing but garbage", "10.0.0.1:80", []string{"unknown"}, "10.0.0.1"},
		{"an impossible port", "10.0.0.1:80", []string{"203.0.113.7:99999"}, "10.0.0.1"},
		{"a name", "10.0.0.1:80", []string{"client.example.com:80"}, "10.0.0.1"},
		{"brackets around nothing", "10.0.0.1:80", []string{"[]", "[]:80", "]", "["}, "10.0.0.1"},
		{"long garbage", "10.0.0.1:80", []string{strings.Repeat("1", 1<<15)}, "10.0.0.1"},
		{"commas", "10.0.0.1:80", []string{strings.Repeat(",", 1<<15)}, "10.0.0.1"},
		{"a socket without addresses", "@", []string{client}, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.lines}}
			if got := ratelimit.ClientAddr(r, trusted).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func BenchmarkClientAddr(b *testing.B) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := &http.Request{
		RemoteAddr: "10.0.0.1:80",
		Header:     http.Header{"X-Forwarded-For": {"198.51.100.1, 203.0.113.7:4711, 10.0.0.2"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		ratelimit.ClientAddr(r, trusted)
	}
}
