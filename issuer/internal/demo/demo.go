// Package demo is the development server: an issuer with everything it needs in
// memory, and a small portal that uses package verify as any consumer would. It
// needs no setup and leaves nothing behind.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify"
)

// The demo organization and its first customer, always the same so that
// snippets work again after a restart.
const (
	organizationID = "6f1d1c6e-9a0b-4c1e-8a57-2f0d9c3b7a10"
	// CustomerID is a customer of the demo organization.
	CustomerID = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	// ExternalID is the same customer in the merchant's own system.
	ExternalID = "user_ada"

	portalPath = "/portal"
)

// customerLines is the customers file of the demo.
const customerLines = `{"id":"` + CustomerID + `","organization_id":"` + organizationID + `","external_id":"` + ExternalID + `","email":"ada@example.com","email_verified":true,"name":"Ada Lovelace","created_at":"2026-01-15T09:00:00Z","billing_address":{"country":"GB","city":"London"},"locale":"en-GB","metadata":{"plan":"pro","seats":3}}
{"id":"0b8f6c1d-53a4-4f0e-9f6b-7d1c2e3f4a5b","organization_id":"` + organizationID + `","external_id":"user_alan","email":"alan@example.com","name":"Alan Turing","created_at":"2026-02-20T10:30:00Z"}
{"id":"c2a7d9e4-1b3f-4d5a-8c6e-9f0a1b2c3d4e","organization_id":"` + organizationID + `","external_id":"team_bletchley","email":"team@example.com","type":"team","name":"Bletchley Park","created_at":"2026-03-01T12:00:00Z"}
`

// A Demo is a development server on one listener.
type Demo struct {
	base     string
	listener net.Listener
	server   *issuer.Server
	handler  http.Handler
	verifier *verify.Verifier // the portal's
	ring     *keys.Ring
	secret   secret.Text
}

// New makes a development server for a listener on a loopback address. Its
// issuer URL is the listener's.
func New(listener net.Listener, logger *slog.Logger) (*Demo, error) {
	d := &Demo{base: "http://" + listener.Addr().String(), listener: listener}
	var err error
	if d.ring, err = newRing(); err != nil {
		return nil, err
	}
	registry, err := d.newRegistry()
	if err != nil {
		return nil, err
	}
	directory, err := customers.LoadFile(strings.NewReader(customerLines))
	if err != nil {
		return nil, err
	}
	d.server, err = issuer.New(issuer.Config{
		Issuer:        d.base,
		Keys:          func() *keys.Ring { return d.ring },
		Organizations: func() *organizations.Registry { return registry },
		Customers:     directory,
		Revocations:   revocations.NewMemory(),
		Redemptions:   revocations.NewMemoryRedemptions(),
		Logger:        logger,
	})
	if err != nil {
		return nil, err
	}
	var portal http.Handler
	if portal, d.verifier, err = newPortal(d.base, directory); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(portalPath, portal)
	mux.Handle(portalPath+"/", portal)
	mux.Handle("/", d.server.Handler())
	d.handler = mux
	return d, nil
}

// newRing makes keys that last longer than a development server runs.
func newRing() (*keys.Ring, error) {
	policy := keys.DefaultPolicy()
	policy.RotationPeriod = 366 * 24 * time.Hour
	manifest, err := keys.Init(policy, time.Now(), true)
	if err != nil {
		return nil, err
	}
	return keys.NewRing(manifest, nil)
}

func (d *Demo) newRegistry() (*organizations.Registry, error) {
	secret, entry, err := organizations.NewAPIKey("demo",
		organizations.Scopes(), time.Time{})
	if err != nil {
		return nil, err
	}
	d.secret = secret
	return organizations.Parse(strings.NewReader(`{"organizations":[{
		"id":"` + organizationID + `", "slug":"demo", "portal_url":"` + d.base + portalPath + `",
		"api_keys":[` + string(entry) + `]}]}`))
}

// Run serves until ctx is done. Operations may be nil.
func (d *Demo) Run(ctx context.Context, operations net.Listener) error {
	defer d.verifier.Close()
	return d.server.Run(ctx, issuer.RunConfig{
		Public: d.listener, Operations: operations, Handler: d.handler, DrainTimeout: 5 * time.Second,
	})
}

// Welcome creates a session on the running server, as a checkout would, and
// prints the API key, the portal link and the commands to try.
func (d *Demo) Welcome(ctx context.Context, w io.Writer) error {
	link, err := d.createSession(ctx)
	if err != nil {
		return fmt.Errorf("creating the first session: %w", err)
	}
	_, err = fmt.Fprintf(w, `customersession is running at %[1]s

Use this API key, valid until the server stops
  export API_KEY=%[2]s

Create a session
  curl -s %[1]s/v1/customer-sessions/ \
    -H 'Authorization: Bearer %[2]s' \
    -H 'Content-Type: application/json' \
    -d '{"customer_id": "%[3]s"}'

Open the portal, signed in as Ada Lovelace for one hour
  %[4]s

End all sessions of that customer
  curl -s %[1]s/v1/customer-sessions/revoke \
    -H 'Authorization: Bearer %[2]s' \
    -H 'Content-Type: application/json' \
    -d '{"customer_id": "%[3]s"}'

Read on
  %[1]s/docs                     the API
  %[1]s/.well-known/jwks.json    the public keys

Stop with Ctrl-C.
`, d.base, d.secret.Reveal(), CustomerID, link)
	return err
}

func (d *Demo) createSession(ctx context.Context) (link string, err error) {
	body := bytes.NewReader([]byte(`{"external_customer_id":"` + ExternalID + `","return_url":"` + d.base + `/docs"}`))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+"/v1/customer-sessions/", body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+d.secret.Reveal())
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("status is %s", response.Status)
	}
	var session struct {
		Link string    `json:"customer_portal_url"`
		ID   uuid.UUID `json:"id"`
	}
	err = json.NewDecoder(response.Body).Decode(&session)
	return session.Link, err
}
