package demo

import (
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/verify"
)

//go:embed site
var site embed.FS

// pagePolicy lets the pages load their own style and script, and send their
// form home.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// A portal is the site behind the link. It is built as any consumer would
// build it: on package verify, which fetches the keys over HTTP.
type portal struct {
	customers customers.Directory
	page      *template.Template
}

// newPortal returns the portal's handler and its verifier, which the caller
// closes.
func newPortal(base string, directory customers.Directory) (http.Handler, *verify.Verifier, error) {
	verifier, err := verify.New(verify.Config{Issuer: base, Audience: issuer.DefaultAudience})
	if err != nil {
		return nil, nil, err
	}
	page, err := template.ParseFS(site, "site/portal.html")
	if err != nil {
		return nil, nil, err
	}
	files, err := fs.Sub(site, "site")
	if err != nil {
		return nil, nil, err
	}
	p := &portal{customers: directory, page: page}
	guard := verifier.NewMiddleware(verify.MiddlewareConfig{Cookie: true, OnError: p.refused})
	assets := http.StripPrefix(portalPath+"/", http.FileServerFS(files))

	mux := http.NewServeMux()
	mux.Handle(portalPath, verifier.NewSignIn(verify.SignInConfig{Next: guard(http.HandlerFunc(p.account)), OnError: p.refused}))
	mux.Handle("POST "+portalPath+"/sign-out", verifier.SignOut(portalPath+"/signed-out"))
	mux.HandleFunc("GET "+portalPath+"/signed-out", p.signedOut)
	mux.Handle("GET "+portalPath+"/portal.css", assets)
	mux.Handle("GET "+portalPath+"/portal.js", assets)
	return mux, verifier, nil
}

// portalPage is the data of the page. Without a session, Problem is why.
type portalPage struct {
	Title, Problem string
	Session        *verify.Session
	Email          string
	Ends, Expires  string
}

// account shows the customer who is signed in. The token holds no name, so it
// comes from the customers of the portal.
func (p *portal) account(w http.ResponseWriter, r *http.Request) {
	session, _ := verify.FromContext(r.Context())
	page := portalPage{
		Title: "Your account", Session: &session,
		Ends:    session.ExpiresAt.Format("15:04:05 MST, 2 January 2006"),
		Expires: session.ExpiresAt.Format(time.RFC3339),
	}
	customer, err := p.customers.Find(r.Context(), customers.Query{
		OrganizationID: uuid.MustParse(session.OrganizationID), ID: uuid.MustParse(session.CustomerID),
	})
	if err == nil {
		if customer.Name != nil {
			page.Title = *customer.Name
		}
		if customer.Email != nil {
			page.Email = *customer.Email
		}
	}
	p.show(w, http.StatusOK, page)
}

// refused shows why the request has no session.
func (p *portal) refused(w http.ResponseWriter, _ *http.Request, err error) {
	page := portalPage{Title: "You are not signed in"}
	status := http.StatusUnauthorized
	switch {
	case errors.Is(err, verify.ErrNoToken):
		page.Problem = "Open the portal with a link from the shop. Links work for a limited time, so an old one may have ended."
	case errors.Is(err, verify.ErrExpired):
		page.Title = "Your session has ended"
		page.Problem = "Portal links work for a limited time. Go back to the shop and open the portal again."
	case errors.Is(err, verify.ErrRevoked):
		page.Title = "Your session has ended"
		page.Problem = "You signed out, or the shop ended it. Go back to the shop and open the portal again."
	case errors.Is(err, verify.ErrKeysUnavailable), errors.Is(err, verify.ErrRevocationsUnavailable):
		page.Problem, status = "Links cannot be checked at the moment. Try again in a minute.", http.StatusServiceUnavailable
	default:
		page.Problem = "This link is not valid. It may have been cut off: copy all of it, or ask the shop for a new one."
	}
	p.show(w, status, page)
}

func (p *portal) signedOut(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, portalPage{
		Title:   "You are signed out",
		Problem: "Your session has ended. Its link no longer works, here or anywhere else.",
	})
}

func (p *portal) show(w http.ResponseWriter, status int, page portalPage) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// It fails when the browser is gone. Then there is nothing to do.
	_ = p.page.Execute(w, page)
}
