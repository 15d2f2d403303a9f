package customers_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// TestHTTPBreakerAndConnections: a server without a connection is left alone, one
// that ends the connection of a request is not.
func TestHTTPBreakerAndConnections(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(reset))
	t.Cleanup(up.Close)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for _, test := range []struct {
		name, address string
		leftAlone     bool
	}{{"resets", up.URL, false}, {"nobody listens", down.URL, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHTTP(t, customers.HTTPConfig{BaseURL: test.address})
			var err error
			for range 6 {
				_, err = h.Find(t.Context(), adaByID)
				if !errors.Is(err, customers.ErrUnavailable) {
					t.Errorf("error is %v, want ErrUnavailable", err)
				}
			}
			if got := strings.Contains(err.Error(), "repeatedly"); got != test.leftAlone {
				t.Errorf("error is %v; left alone is %t, want %t", err, got, test.leftAlone)
			}
		})
	}
}
