package loopback_test

import (
	"testing"

	"github.com/customersession/customersession/issuer/internal/loopback"
)

func TestHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "::ffff:10.0.0.1": false, "127.0.0.1.example.com": false,
		"acme.localhost": false, "evil-localhost": false, "localhost.": false, "127.1": false, "2130706433": false,
	} {
		if got := loopback.Host(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}
