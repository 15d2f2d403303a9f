package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/verify"
)

const (
	portalPath              = "/portal"
	newLinkPath             = portalPath + "/new-link"
	endedPath               = portalPath + "/ended"
	signOutPath             = portalPath + "/sign-out"
	signedOutPath           = portalPath + "/signed-out"
	signOutEverywherePath   = portalPath + "/sign-out-everywhere"
	signedOutEverywherePath = portalPath + "/signed-out-everywhere"
)

// A portal is the site behind the link. It is built as any consumer would
// build it: on package verify, which fetches the keys over HTTP.
type portal struct {
	portalConfig

	verifier *verify.Verifier
}

// portalConfig is what a portal needs.
type portalConfig struct {
	Issuer     string
	APIKeyFile string // of the organization whose links hold a code
	Customers  customers.Directory
	Pages      *pages
	Client     *http.Client // makes all calls to the issuer
	// SendLink sends a mail with a new link to the customer of a session.
	SendLink func(ctx context.Context, session *verify.Session) error
}

// newPortal returns the portal's handler and its verifier, which the caller
// closes.
func newPortal(config portalConfig) (http.Handler, *verify.Verifier, error) {
	verifier, err := verify.New(verify.Config{Issuer: config.Issuer, Audience: issuer.DefaultAudience, HTTPClient: config.Client})
	if err != nil {
		return nil, nil, err
	}
	files, err := assets()
	if err != nil {
		return nil, nil, err
	}
	p := &portal{config, verifier}
	guard := verifier.NewMiddleware(verify.MiddlewareConfig{Cookie: true, OnError: p.refused})
	signIn := verifier.NewSignIn(verify.SignInConfig{
		Next:     guard(http.HandlerFunc(p.showAccount)),
		Exchange: verify.Exchange{APIKeyFile: config.APIKeyFile},
		Page:     p.signInPage,
	})

	mux := http.NewServeMux()
	mux.Handle("GET "+portalPath, signIn)
	mux.Handle("POST "+portalPath, signIn)
	mux.Handle("POST "+newLinkPath, guard(http.HandlerFunc(p.sendLink)))
	mux.Handle("POST "+signOutPath, verifier.SignOut(signedOutPath))
	mux.Handle("POST "+signOutEverywherePath, guard(p.endAll(verifier.SignOut(signedOutEverywherePath))))
	mux.HandleFunc("GET "+endedPath, p.message(http.StatusOK, "ended", toShop()))
	mux.HandleFunc("GET "+signedOutPath, p.message(http.StatusOK, "signed_out", toShop()))
	mux.HandleFunc("GET "+signedOutEverywherePath, p.message(http.StatusOK, "signed_out_everywhere", toShop()))
	mux.HandleFunc(portalPath+"/", p.message(http.StatusNotFound, "missing", toPortal(), toShop()))
	for _, name := range []string{"/portal.css", "/portal.js", "/mark.svg"} {
		mux.Handle("GET "+portalPath+name, files)
	}
	return mux, verifier, nil
}

// Where a page leads to.
func toShop() action     { return action{Key: "get_link", Address: "/"} }
func backToShop() action { return action{Key: "back", Address: "/"} }
func toPortal() action   { return action{Key: "open", Address: portalPath} }
func again() action      { return action{Key: "again"} }

// account is the data of the portal's page.
type account struct {
	Session               verify.Session
	Name, Email, Customer string
	Ends                  time.Time
	Seconds               int    // are left
	Left                  string // is the same, as a clock shows it
}

// showAccount shows who is signed in. The token holds no name.
func (p *portal) showAccount(w http.ResponseWriter, r *http.Request) {
	session, _ := verify.FromContext(r.Context())
	user, err := p.verifier.User(r.Context())
	if errors.Is(err, verify.ErrRevoked) {
		p.refused(w, r, err)
		return
	}
	left := max(0, time.Until(session.ExpiresAt))
	page := account{
		Session: session, Name: cmp.Or(user.Name, user.Email, session.CustomerID), Email: user.Email,
		Ends: session.ExpiresAt.UTC(), Seconds: int(left.Seconds()), Left: clock(left),
	}
	page.Customer, _ = p.names(r.Context(), &session)
	p.Pages.show(w, r, http.StatusOK, "account", page)
}

// clock writes a duration as portal.js does.
func clock(d time.Duration) string {
	text := fmt.Sprintf("%02d:%02d", int(d.Minutes())%60, int(d.Seconds())%60)
	if hours := int(d.Hours()); hours > 0 {
		text = fmt.Sprintf("%d:%s", hours, text)
	}
	return text
}

// names returns the names of a session's customer and of the person, from the
// portal's own records, or the customer's ID if there is none.
func (p *portal) names(ctx context.Context, session *verify.Session) (customer, person string) {
	query, err := queryFor(session)
	if err != nil {
		return session.CustomerID, session.CustomerID
	}
	found, err := p.Customers.Find(ctx, query)
	if err != nil || found.Name == nil {
		return session.CustomerID, session.CustomerID
	}
	if session.MemberID == "" {
		return *found.Name, *found.Name
	}
	member, err := p.Customers.FindMember(ctx, query, found)
	if err != nil || member.Name == nil {
		return *found.Name, *found.Name
	}
	return *found.Name, *member.Name
}

// queryFor names the customer, and the member if there is one, of a session.
func queryFor(session *verify.Session) (query customers.Query, err error) {
	var member error
	query.OrganizationID, err = uuid.Parse(session.OrganizationID)
	if err != nil {
		return query, err
	}
	if session.MemberID != "" {
		query.MemberID, member = uuid.Parse(session.MemberID)
	}
	query.ID, err = uuid.Parse(session.CustomerID)
	return query, errors.Join(member, err)
}

// sendLink sends a new link before the session ends. It goes to the customer's
// mailbox, and not to this browser: who sits there may be another by now.
func (p *portal) sendLink(w http.ResponseWriter, r *http.Request) {
	session, _ := verify.FromContext(r.Context())
	if err := p.SendLink(r.Context(), &session); err != nil {
		p.Pages.tell(w, r, http.StatusServiceUnavailable, "outage", toPortal())
		return
	}
	p.Pages.tell(w, r, http.StatusOK, "sent", toPortal())
}

// endAll ends all sessions of the customer or member, and then signs out here.
func (p *portal) endAll(signOut http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := verify.Token(r.Context())
		address := p.Issuer + "/v1/customer-portal/customer-session?everywhere=true"
		request, err := http.NewRequestWithContext(r.Context(), http.MethodDelete, address, http.NoBody)
		if err == nil {
			request.Header.Set("Authorization", "Bearer "+token)
			err = call(p.Client, request, http.StatusNoContent, nil)
		}
		if err != nil {
			p.Pages.tell(w, r, http.StatusServiceUnavailable, "still_open", toPortal())
			return
		}
		signOut.ServeHTTP(w, r)
	})
}

// refused shows why a request has no session.
func (p *portal) refused(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, verify.ErrNoToken):
		p.Pages.tell(w, r, http.StatusUnauthorized, "none", toShop())
	case errors.Is(err, verify.ErrExpired):
		p.Pages.tell(w, r, http.StatusUnauthorized, "ended", toShop())
	case errors.Is(err, verify.ErrRevoked):
		p.Pages.tell(w, r, http.StatusUnauthorized, "revoked", toShop())
	case errors.Is(err, verify.ErrKeysUnavailable), errors.Is(err, verify.ErrRevocationsUnavailable):
		p.Pages.tell(w, r, http.StatusServiceUnavailable, "outage", again())
	case errors.Is(err, verify.ErrCrossOrigin):
		p.Pages.tell(w, r, http.StatusForbidden, "elsewhere", toPortal())
	default:
		p.Pages.tell(w, r, http.StatusUnauthorized, "none", toShop())
	}
}

// A question is the data of the page of confirmation.
type question struct {
	Name, Current string
	Fields        map[string]string
}

// signInPage shows the pages of sign-in.
func (p *portal) signInPage(w http.ResponseWriter, r *http.Request, page verify.SignInPage) {
	m := message{Fields: page.Fields, Actions: []action{toShop()}}
	switch page.State {
	case verify.SignInConfirm:
		q := question{Fields: page.Fields}
		_, q.Name = p.names(r.Context(), &page.Session)
		if page.Current.ID != "" {
			_, q.Current = p.names(r.Context(), &page.Current)
		}
		p.Pages.show(w, r, http.StatusOK, "confirm", q)
		return
	case verify.SignInExpired:
		m.Key, m.Button = "expired", "send"
	case verify.SignInUsed:
		m.Key, m.Button = "used", "send"
		m.Actions = []action{toPortal(), toShop()}
	case verify.SignInEnded:
		m.Key = "revoked"
	case verify.SignInUnavailable:
		m.Key, m.Button, m.Actions = "outage", "again", nil
	case verify.SignInRefused:
		m.Key = refusalKey(page.Err)
	case verify.SignInSent:
		m.Key, m.Actions = "sent", []action{backToShop()}
	case verify.SignInNoRecovery:
		m.Key = "unsent"
	case verify.SignInWait:
		m.Key, m.Button = "wait", "send"
	case verify.SignInInvalid:
		m.Key = "broken"
	}
	if page.Button == "" {
		m.Button = ""
	}
	p.Pages.show(w, r, http.StatusOK, "message", m)
}

// refusalKey returns the texts for a browser that cannot sign in like this.
func refusalKey(err error) string {
	switch {
	case errors.Is(err, verify.ErrNotNavigation):
		return "frame"
	case errors.Is(err, verify.ErrPlainHTTP):
		return "http"
	case errors.Is(err, verify.ErrCookieSize):
		return "size"
	default:
		return "elsewhere"
	}
}

// message returns a page that says what happened and what to do next.
func (p *portal) message(status int, key string, actions ...action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.Pages.tell(w, r, status, key, actions...)
	}
}
