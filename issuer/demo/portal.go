package demo

import (
	"embed"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/customers"
	"github.com/customersession/customersession/verify"
)

//go:embed portal.html
var pages embed.FS

// A portal is the site behind the link. It trusts nothing but package verify,
// which fetches the keys over HTTP like in any other service.
type portal struct {
	verifier  *verify.Verifier
	customers customers.Directory
	page      *template.Template
}

func newPortal(base string, directory customers.Directory) (*portal, error) {
	verifier, err := verify.New(verify.Config{Issuer: base, Audience: issuer.DefaultAudience})
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(pages, "portal.html")
	if err != nil {
		return nil, err
	}
	return &portal{verifier: verifier, customers: directory, page: page}, nil
}

// portalPage is what the page shows. Session is nil when nobody is signed in;
// Problem says why.
type portalPage struct {
	Session *verify.Session
	Name    string
	Ends    string
	Problem string
}

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	// The address holds a token: it must not travel on to other sites.
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	status, page := p.show(r)
	w.WriteHeader(status)
	// The browser is gone when this fails; there is nobody left to tell.
	_ = p.page.Execute(w, page)
}

func (p *portal) show(r *http.Request) (status int, page portalPage) {
	token := r.URL.Query().Get("customer_session_token")
	if token == "" {
		return http.StatusUnauthorized, portalPage{Problem: "This page needs a portal link. Create a session and open its customer_portal_url."}
	}
	session, err := p.verifier.Verify(r.Context(), token)
	switch {
	case errors.Is(err, verify.ErrKeysUnavailable):
		return http.StatusServiceUnavailable, portalPage{Problem: "Links cannot be checked at the moment. Try again in a minute."}
	case errors.Is(err, verify.ErrExpired):
		return http.StatusUnauthorized, portalPage{Problem: "This link has expired. Ask the shop for a new one."}
	case err != nil:
		return http.StatusUnauthorized, portalPage{Problem: "This link is not valid. Copy it as a whole, or ask the shop for a new one."}
	}
	page = portalPage{Session: &session, Name: "Customer", Ends: session.ExpiresAt.Format(time.RFC1123)}
	customer, err := p.customers.Find(r.Context(), customers.Query{
		OrganizationID: uuid.MustParse(session.OrganizationID), ID: uuid.MustParse(session.CustomerID),
	})
	if err == nil && customer.Name != nil {
		page.Name = *customer.Name
	}
	return http.StatusOK, page
}
