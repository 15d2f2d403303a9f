package verify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The query parameters of a portal link: it holds a token, or a code that the
// portal exchanges for one.
const (
	TokenParameter = "customer_session_token"
	CodeParameter  = "customer_session_code"
)

// Reasons why a link does not sign in, beside those for which its token or code is
// not accepted.
var (
	// ErrNotNavigation means that a link was not opened as a page of its own, but
	// as an image, in a frame, by a script: 403.
	ErrNotNavigation = errors.New("verify: link was not opened as a page")
	// ErrCodeUsed means that the code of a link has been exchanged already: 401.
	ErrCodeUsed = errors.New("verify: code has already been used")
	// ErrCodeInvalid means that the issuer refuses a code that this verifier accepts,
	// for example because the API key is another organization's: 401.
	ErrCodeInvalid = errors.New("verify: issuer refuses the code")
	// ErrIssuerUnavailable means that the issuer did not exchange a code or send a
	// new link, because it did not answer or refused the portal: 503, and the link
	// may be tried again.
	ErrIssuerUnavailable = errors.New("verify: issuer cannot be asked")
	// ErrNoRecovery means that the issuer sends no new link for this one: 404.
	ErrNoRecovery = errors.New("verify: issuer sends no new link")
	// ErrRateLimited means that too many new links were asked for: 429.
	ErrRateLimited = errors.New("verify: too many requests for a new link")
	// ErrPlainHTTP means that the portal was opened over http, where browsers keep
	// no secure cookie, and not on this machine: 403.
	ErrPlainHTTP = errors.New("verify: sign-in needs https")
	// ErrCookieSize means that the token is too long for a cookie: 500. The issuer
	// keeps to the limit; a longer token is not from a customersession server.
	ErrCookieSize = errors.New("verify: token is too long for a cookie")
)

// SignInConfig configures how a portal signs customers in. Next is required; every other
// zero field stands for its documented default.
type SignInConfig struct {
	// Next answers every request that is not a link: usually a page behind
	// [Verifier.NewMiddleware] with Cookie.
	Next http.Handler
	// Confirm shows a page with one button for every link, and not only where
	// [Verifier.NewSignIn] needs one. Mail scanners open links, too, and some use a
	// real browser. Default: most links with a token sign in without a question.
	Confirm bool
	// Exchange configures how links that hold a code are redeemed. Default: such links
	// are refused, and Config.Logger gets a line.
	Exchange Exchange
	// Page writes the pages of sign-in. Whatever it writes, the headers that keep the
	// link safe are set, and a refusal keeps its status. If Page writes nothing, the
	// default page is shown.
	// Default: a plain page in English.
	Page func(w http.ResponseWriter, r *http.Request, page SignInPage)
	// OnError answers the links that are refused instead of Page, without a way
	// to a new link. See [MiddlewareConfig] for what it may do. Default: Page does.
	OnError func(w http.ResponseWriter, r *http.Request, err error)
}

// NewSignIn returns a handler for the landing route of a portal, for GET, HEAD and
// POST. A request with a token or a code in its query, as portal links have, is
// signed in: the token goes into a cookie that expires with the session, and the
// browser is redirected to the same address without it. So it stays out of
// bookmarks, the visible history and the Referer header. Every other request goes
// to config.Next.
//
// Only a person signs in. A link must be opened as a page of its own: not as an
// image or in a frame, not by a script, and not ahead of time. A page with one
// button comes first, which only a browser that shows this page can press
//
//   - for a link with a code, which is good once,
//   - where a session of another customer, member or organization is alive in this
//     browser, or this cannot be known now,
//   - for a browser that does not say how it opened the link, and for HEAD,
//   - and always with config.Confirm.
//
// A link that has expired, or whose code is used up, gets a page that asks the
// issuer to send a new one. Where the same customer is still signed in, the browser
// goes on with that session instead.
//
// Over http, browsers keep no secure cookie. On localhost and other loopback
// addresses the cookie has another name and is not secure, for development; a
// proxy must therefore pass on the Host that the browser asked for. Elsewhere
// sign-in is refused over http.
//
// Anyone who has a link can sign in with it, or get someone else to open it: the
// page should always show who is signed in.
//
// NewSignIn panics if config.Next is nil, or config.Exchange cannot work.
func (v *Verifier) NewSignIn(config SignInConfig) http.Handler {
	if config.Next == nil {
		panic("verify: SignInConfig has no Next")
	}
	return &signIn{verifier: v, config: config, codes: v.newExchanger(config.Exchange)}
}

// A signIn is the landing route of a portal.
type signIn struct {
	verifier *Verifier
	config   SignInConfig
	codes    *exchanger
}

// ServeHTTP implements [http.Handler].
func (s *signIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	link := parseLink(r.URL.RawQuery)
	a := &arrival{signIn: s, w: w, r: r, link: link}
	switch {
	case link.kind == notLink:
		s.config.Next.ServeHTTP(w, r)
	case r.Method == http.MethodPost:
		a.confirmed(r.Context())
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.config.Next.ServeHTTP(w, r)
	case isAhead(r.Header):
		// The browser asks again when the person opens the link.
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		a.opened(r.Context())
	}
}

// An arrival is one request with a link.
type arrival struct {
	*signIn

	w    http.ResponseWriter
	r    *http.Request
	link link
	// session is what the link says, the zero Session if it is not known.
	session Session
	// redemption names the attempt to exchange a code.
	redemption string
	// recover says that the person asks for a new link.
	recover bool
	// stale says that the browser's cookie is of no use.
	stale bool
}

// opened answers a link that was opened, by GET or HEAD.
func (a *arrival) opened(ctx context.Context) {
	how := navigation(a.r.Header)
	if how == elsewhere {
		a.refuse(ErrNotNavigation)
		return
	}
	prior := a.prior(ctx)
	if err := a.check(ctx); err != nil {
		a.refuseUnlessIn(prior, err)
		return
	}
	other := prior.alive && !samePerson(&prior.session, &a.session)
	unseen := a.r.Method == http.MethodHead
	if a.link.kind == codeLink || a.config.Confirm || how == unsaid || unseen || prior.unknown || other {
		a.ask(prior, other)
		return
	}
	a.accept(ctx, a.link.secret, a.session.ExpiresAt)
}

// confirmed answers the form of a page of sign-in.
func (a *arrival) confirmed(ctx context.Context) {
	if err := a.parseForm(); err != nil {
		a.refuse(err)
		return
	}
	prior := a.prior(ctx)
	err := a.check(ctx)
	switch {
	case a.recover:
		a.sendLink(ctx, err)
	case err != nil:
		a.refuseUnlessIn(prior, err)
	case a.link.kind == tokenLink:
		a.accept(ctx, a.link.secret, a.session.ExpiresAt)
	default:
		token, session, err := a.codes.exchange(ctx, a.link.secret, a.redemption, &a.session)
		if err != nil {
			a.refuseUnlessIn(prior, err)
			return
		}
		a.accept(ctx, token, session.ExpiresAt)
	}
}

// refuseUnlessIn answers a link that does not work. A customer who opens an old link
// again, in a browser where they are still signed in, goes on with that session.
func (a *arrival) refuseUnlessIn(prior priorSession, err error) {
	old := errors.Is(err, ErrExpired) || errors.Is(err, ErrCodeUsed)
	if old && prior.alive && samePerson(&prior.session, &a.session) {
		a.enter()
		return
	}
	a.refuse(err)
}

// maxForm bounds the form of a page of sign-in.
const maxForm = 4 << 10

// parseForm reads the form, if a page of this host has sent it.
func (a *arrival) parseForm() error {
	if !sameOrigin(a.r) {
		return ErrCrossOrigin
	}
	// Without the query, which may be anything but a form.
	form := &http.Request{Method: http.MethodPost, Header: a.r.Header, URL: &url.URL{}, Body: http.MaxBytesReader(a.w, a.r.Body, maxForm)}
	if err := form.ParseForm(); err != nil {
		return ErrInvalidRequest
	}
	a.redemption = form.PostForm.Get(redemptionField)
	a.recover = form.PostForm.Get(recoverField) != ""
	switch {
	case a.recover:
		return nil
	case overPlainHTTP(a.r):
		return ErrPlainHTTP
	case a.link.kind == codeLink && !isRedemption(a.redemption):
		return ErrInvalidRequest
	}
	return nil
}

// check returns why the link cannot be used.
func (a *arrival) check(ctx context.Context) (err error) {
	switch a.link.kind {
	case tokenLink:
		a.session, err = a.verifier.Verify(ctx, a.link.secret)
		if err == nil && cookieAge(a.session.ExpiresAt) <= 0 {
			// The leeway would let it in, and the browser sign it out at once.
			err = newExpiredError(&a.session)
		}
	case codeLink:
		a.session, err = a.codes.check(ctx, a.link.secret)
	default:
		return ErrInvalidRequest
	}
	if expired, ok := errors.AsType[*ExpiredError](err); ok {
		a.session = expired.Session
	}
	return err
}

// A priorSession is what the browser's cookie says.
type priorSession struct {
	session Session
	alive   bool // there is one
	unknown bool // there may be one
}

// prior returns the session of the browser's cookie, and notes if it is dead.
func (a *arrival) prior(ctx context.Context) priorSession {
	token, err := cookieToken(a.r)
	if err != nil {
		return priorSession{unknown: !errors.Is(err, ErrNoToken)}
	}
	session, err := a.verifier.Verify(ctx, token)
	switch {
	case err == nil:
		return priorSession{session: session, alive: true}
	case cannotTell(err):
		return priorSession{unknown: true}
	}
	a.stale = true
	return priorSession{}
}

// sendLink asks the issuer to send a new link; err is why this one does not work.
func (a *arrival) sendLink(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrUnknownKey) {
		a.refuse(err)
		return
	}
	supportURL, err := a.codes.recover(ctx, a.link.secret)
	if err != nil {
		a.refuseWith(err, supportURL)
		return
	}
	a.show(http.StatusOK, a.page(signInText{
		SignInSent, "A new link is on its way",
		"If your account still exists, you will get a message with a new link in a few minutes. You can close this page.", "", false,
	}))
}

// samePerson reports whether two sessions are of one customer and one member.
func samePerson(a, b *Session) bool {
	return a.OrganizationID == b.OrganizationID && a.CustomerID == b.CustomerID && a.MemberID == b.MemberID
}

// accept signs in.
func (a *arrival) accept(ctx context.Context, token string, expires time.Time) {
	cookie := sessionCookie(a.r, token, expires)
	if len(cookie.Name)+len(cookie.Value) > maxCookie {
		a.verifier.logger.LogAttrs(ctx, slog.LevelError, "a session is too long for a browser's cookie",
			slog.Int("bytes", len(cookie.Name)+len(cookie.Value)), slog.Int("limit", maxCookie))
		a.refuse(ErrCookieSize)
		return
	}
	http.SetCookie(a.w, cookie)
	a.enter()
}

// enter sends the browser on to the address without the link's token or code.
func (a *arrival) enter() {
	header := a.w.Header()
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	header.Set("Location", a.link.address(a.r.URL))
	a.w.WriteHeader(http.StatusSeeOther)
}

// A link is the query of a portal link.
type link struct {
	kind   linkKind
	secret string // the token, or the code
	rest   string // the other pairs, byte for byte
}

// A linkKind is what a link holds.
type linkKind int

const (
	notLink linkKind = iota
	tokenLink
	codeLink
	ambiguousLink
)

// parseLink reads a query. It leaves what it does not know as it is, unlike
// [url.Values], which sorts, and drops what has a semicolon.
func parseLink(query string) link {
	var l link
	var rest []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		kind := kindOf(name)
		switch {
		case kind == notLink:
			rest = append(rest, pair)
			continue
		case l.kind != notLink:
			kind = ambiguousLink
		}
		// What cannot be unescaped is no token.
		l.secret, _ = url.QueryUnescape(value)
		l.kind = kind
	}
	l.rest = strings.Join(rest, "&")
	return l
}

// kindOf returns what a parameter of the query holds.
func kindOf(name string) linkKind {
	switch name, _ := url.QueryUnescape(name); name {
	case TokenParameter:
		return tokenLink
	case CodeParameter:
		return codeLink
	default:
		return notLink
	}
}

// address returns the address of a link without its token, from where the browser
// is. Only the browser knows the whole: a proxy or [http.StripPrefix] may have cut
// the path. A query alone keeps any path (RFC 3986, Section 5.2.2). It would end in
// a bare "?" if nothing is left, so the last segment of the path stands for the
// whole then, if there is one. Neither can lead to another host.
func (l *link) address(u *url.URL) string {
	path := u.EscapedPath()
	if segment := path[strings.LastIndexByte(path, '/')+1:]; l.rest == "" && segment != "" {
		return "./" + segment
	}
	return "?" + l.rest
}

// A manner is how a browser says that it opened an address.
type manner int

const (
	unsaid manner = iota
	asPage
	elsewhere
)

// navigation returns how a link was opened, by the Fetch Metadata Request Headers
// of W3C. Some browsers send none, or only a part.
func navigation(header http.Header) manner {
	mode, dest := header.Get("Sec-Fetch-Mode"), header.Get("Sec-Fetch-Dest")
	switch {
	case mode != "" && mode != "navigate", dest != "" && dest != "document":
		return elsewhere
	case mode == "" || dest == "":
		return unsaid
	default:
		return asPage
	}
}

// isAhead reports whether a browser asks before the person does.
func isAhead(header http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}

// SignOut handles the sign-out route of a portal: it ends the session, removes the
// cookie of [Verifier.NewSignIn] and redirects the browser to a path of this site. It
// requires a POST from a page of the same origin. This verifier refuses the
// session from then on, and the issuer ends it for all others, for which SignOut
// waits at most 2 seconds. If the issuer cannot, Config.Logger gets a line; the
// cookie is removed in any case. Where no feed is followed, the cookie is all that
// goes, and the token stays valid until it expires. SignOut panics when path does
// not begin with a single slash, because it would lead to another site.
func (v *Verifier) SignOut(path string) http.Handler {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		panic("verify: SignOut needs a path of this site, such as /signed-out")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Sign out with POST", http.StatusMethodNotAllowed)
			return
		}
		if err := new(http.CrossOriginProtection).Check(r); err != nil {
			v.deny(w, r, ErrCrossOrigin, &MiddlewareConfig{})
			return
		}
		v.endSession(r)
		removeCookie(w, r)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", path)
		w.WriteHeader(http.StatusSeeOther)
	})
}
