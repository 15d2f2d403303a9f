package ratelimit_test

import (
	"fmt"
	"net/netip"

	"github.com/customersession/customersession/issuer/internal/ratelimit"
)

func ExampleLimiter_Allow() {
	limiter := ratelimit.New[netip.Prefix](0.01, 2, 65_536)
	client := ratelimit.ClientKey(netip.MustParseAddr("2001:db8::1"))
	for range 3 {
		wait, ok := limiter.Allow(client)
		if !ok {
			fmt.Println("429, Retry-After:", ratelimit.RetryAfterSeconds(wait))
			continue
		}
		fmt.Println("served")
	}
	// Output:
	// served
	// served
	// 429, Retry-After: 100
}
