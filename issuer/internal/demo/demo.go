// Package demo is the development server: an issuer with everything it needs in
// memory, and a small portal that uses package verify as any consumer would. It
// needs no setup and leaves nothing behind.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	// TeamID is a customer of the demo organization that is a team.
	TeamID = "c2a7d9e4-1b3f-4d5a-8c6e-9f0a1b2c3d4e"
	// ExternalTeamID is the same team in the merchant's own system.
	ExternalTeamID = "team_bletchley"
	// MemberID is a member of the team, its billing manager.
	MemberID = "7c3b9e2f-4d1a-4f68-8e05-6a2d9c1b4f73"
	// ExternalMemberID is the team's owner in the merchant's own system.
	ExternalMemberID = "user_joan"

	// codesOrganizationID is an organization with the same customers, whose links
	// hold a code.
	codesOrganizationID = "2b9d4c71-6e0f-4d83-9a5c-1e7f3b8a6d20"
)

// What a link holds.
const (
	linkToken = "token"
	linkCode  = "code"
)

// customerLines is the customers file of the demo.
const customerLines = `{"id":"` + CustomerID + `","organization_id":"` + organizationID + `","external_id":"` + ExternalID + `","email":"ada@example.com","email_verified":true,"name":"Ada Lovelace","created_at":"2026-01-15T09:00:00Z","billing_address":{"country":"GB","city":"London"},"locale":"en-GB","metadata":{"plan":"pro","seats":3}}
{"id":"0b8f6c1d-53a4-4f0e-9f6b-7d1c2e3f4a5b","organization_id":"` + organizationID + `","external_id":"user_alan","email":"alan@example.com","name":"Alan Turing","created_at":"2026-02-20T10:30:00Z"}
{"id":"` + TeamID + `","organization_id":"` + organizationID + `","external_id":"` + ExternalTeamID + `","email":"team@example.com","type":"team","name":"Bletchley Park","created_at":"2026-03-01T12:00:00Z","members":[` +
	`{"id":"5a1e0c7d-8b2f-4c39-a6d4-3e9f1b7c2d58","external_id":"` + ExternalMemberID + `","name":"Joan Clarke","email":"joan@example.com","role":"owner"},` +
	`{"id":"` + MemberID + `","external_id":"user_gordon","name":"Gordon Welchman","email":"gordon@example.com","role":"billing_manager"},` +
	`{"id":"9e5d2a4b-1c7f-4b86-9d32-8f4a6e3c5b17","external_id":"user_mavis","name":"Mavis Batey","email":"mavis@example.com","role":"member"}]}
`

// A Demo is a development server on one listener.
type Demo struct {
	base     string
	listener net.Listener
	out      io.Writer
	shop     *shop
	server   *issuer.Server
	handler  http.Handler
	verifier *verify.Verifier // the portal's
	ring     *keys.Ring
	dir      string // holds what package verify reads from a file

	secret, codesSecret secret.Text // of the API
	webhookKey          []byte      // signs the events about expired links
}

// New makes a development server for a listener on a loopback address. Its
// issuer URL is the listener's. It prints what its user should see to out.
func New(listener net.Listener, out io.Writer, logger *slog.Logger) (*Demo, error) {
	d := &Demo{base: "http://" + listener.Addr().String(), listener: listener, out: out, webhookKey: []byte(rand.Text())}
	var err error
	if d.dir, err = os.MkdirTemp("", "customersession-dev-"); err != nil {
		return nil, err
	}
	if err := d.build(logger); err != nil {
		_ = os.RemoveAll(d.dir)
		return nil, err
	}
	return d, nil
}

// build makes the issuer, the shop and the portal.
func (d *Demo) build(logger *slog.Logger) error {
	var err error
	if d.ring, err = newRing(); err != nil {
		return err
	}
	registry, err := d.newRegistry()
	if err != nil {
		return err
	}
	directory, err := customers.LoadFile(strings.NewReader(
		customerLines + strings.ReplaceAll(customerLines, organizationID, codesOrganizationID)))
	if err != nil {
		return err
	}
	webhookSecret := secret.Text("whsec_" + base64.StdEncoding.EncodeToString(d.webhookKey))
	d.server, err = issuer.New(issuer.Config{
		Issuer:        d.base,
		Keys:          func() *keys.Ring { return d.ring },
		Organizations: func() *organizations.Registry { return registry },
		Customers:     directory,
		Revocations:   revocations.NewMemory(),
		Redemptions:   revocations.NewMemoryRedemptions(),
		WebhookSecret: func(string) (secret.Text, error) { return webhookSecret, nil },
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	return d.buildSites(directory)
}

// buildSites makes the shop and the portal, and puts them beside the issuer.
func (d *Demo) buildSites(directory customers.Directory) error {
	pages, err := newPages(d.base)
	if err != nil {
		return err
	}
	groups, err := readGroups(customerLines)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	shop := &shop{
		base: d.base, keys: map[string]secret.Text{linkToken: d.secret, linkCode: d.codesSecret}, webhookKey: d.webhookKey,
		customers: directory, groups: groups, pages: pages, client: client, out: d.out,
	}
	d.shop = shop
	keyFile := filepath.Join(d.dir, "api-key")
	if err := os.WriteFile(keyFile, []byte(d.codesSecret.Reveal()), 0o600); err != nil {
		return err
	}
	portal, verifier, err := newPortal(portalConfig{
		Issuer: d.base, APIKeyFile: keyFile, Customers: directory, Pages: pages, Client: client, SendLink: shop.sendLink,
	})
	if err != nil {
		return err
	}
	d.verifier = verifier
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", shop.start)
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.tell(w, r, http.StatusForbidden, "elsewhere", backToShop())
	}))
	mux.Handle("POST "+linkPath, sameOrigin.Handler(http.HandlerFunc(shop.link)))
	mux.HandleFunc("POST "+recoveryPath, shop.recovery)
	mux.Handle(portalPath, portal)
	mux.Handle(portalPath+"/", portal)
	mux.Handle("/", d.server.Handler())
	d.handler = mux
	return nil
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

// newRegistry makes two organizations, which differ in what their links hold.
func (d *Demo) newRegistry() (*organizations.Registry, error) {
	secret, entry, err := organizations.NewAPIKey("demo", organizations.Scopes(), time.Time{})
	if err != nil {
		return nil, err
	}
	codesSecret, codesEntry, err := organizations.NewAPIKey("demo", organizations.Scopes(), time.Time{})
	if err != nil {
		return nil, err
	}
	d.secret, d.codesSecret = secret, codesSecret
	common := `"portal_url":"` + d.base + portalPath + `",
		"recovery":{"webhook_url":"` + d.base + recoveryPath + `","secret_file":"in memory"},`
	return organizations.Parse(strings.NewReader(`{"organizations":[
		{"id":"` + organizationID + `","slug":"demo",` + common + `"api_keys":[` + string(entry) + `]},
		{"id":"` + codesOrganizationID + `","slug":"demo-codes","link":"code",` + common + `"api_keys":[` + string(codesEntry) + `]}
	]}`))
}

// Run serves until ctx is done. Operations may be nil.
func (d *Demo) Run(ctx context.Context, operations net.Listener) error {
	defer os.RemoveAll(d.dir)
	defer d.verifier.Close()
	return d.server.Run(ctx, issuer.RunConfig{
		Public: d.listener, Operations: operations, Handler: d.handler, DrainTimeout: 5 * time.Second,
	})
}

// Welcome creates a session on the running server, as a checkout would, and
// prints the API key, the portal link and the commands to try.
func (d *Demo) Welcome(ctx context.Context) error {
	link, err := d.shop.createSession(ctx, linkToken, sessionRequest{ExternalCustomerID: ExternalID, ReturnURL: d.base + "/", ExpiresIn: hour})
	if err != nil {
		return fmt.Errorf("creating the first session: %w", err)
	}
	_, err = fmt.Fprintf(d.out, `customersession is running at %[1]s

Open this page to sign in as a demo customer
  %[1]s/

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
