package organizations_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

func Example() {
	secret, entry, err := organizations.NewAPIKey("checkout",
		[]organizations.Scope{organizations.ScopeWrite}, time.Time{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the secret, printed by mistake:", secret)

	registry, err := organizations.Parse(strings.NewReader(`{"organizations": [{
		"id": "0191c0de-5eed-4000-8000-0123456789ab",
		"slug": "acme",
		"portal_url": "https://portal.example.com/{slug}",
		"api_keys": [` + string(entry) + `]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := registry.Authenticate(secret.Reveal(), time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("key:", key.Name)
	fmt.Println("may create sessions:", key.Has(organizations.ScopeWrite))
	fmt.Println("link:", key.Organization.PortalLink("TOKEN", ""))
	// Output:
	// the secret, printed by mistake: [redacted]
	// key: checkout
	// may create sessions: true
	// link: https://portal.example.com/acme?customer_session_token=TOKEN
}
