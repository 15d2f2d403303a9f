//go:build unix

package customers_test

import (
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// testOrganizations: one organization's queries hang, with more callers than
// connections. Another one has its answers meanwhile.
func testOrganizations(server *postgres) func(*testing.T) {
	return func(t *testing.T) {
		server.exec(t, "apart", ordinary)
		p := server.directory(t, "apart", customers.PostgresConfig{
			DSN:     secret.Text(server.dsn("apart") + "&pool_max_conns=4"),
			Timeout: 2 * time.Second,
			ByID: "SELECT c.* FROM customers c, pg_sleep(CASE $1::text WHEN '" + home.String() + "' THEN 60 ELSE 0 END) " +
				"WHERE organization_id = ($1::text)::uuid AND id = $2",
		})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { bounded(t, p, 2*time.Second) })
		}
		ended := make(chan struct{})
		go func() { callers.Wait(); close(ended) }()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for done := false; !done; {
			if _, err := p.Find(t.Context(), eveByID); err != nil {
				t.Fatalf("another organization gets %v", err)
			}
			select {
			case <-ended:
				done = true
			case <-tick.C:
			}
		}
	}
}
