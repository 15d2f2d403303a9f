package verify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The fields of the forms of sign-in.
const (
	redemptionField = "redemption"
	recoverField    = "recover"
)

// A SignInState names a page of sign-in.
type SignInState string

// The pages of sign-in.
const (
	// SignInConfirm asks the person to press a button, which signs in.
	SignInConfirm SignInState = "confirm"
	// SignInExpired says that the link has expired.
	SignInExpired SignInState = "expired"
	// SignInUsed says that the link has already been used.
	SignInUsed SignInState = "used"
	// SignInEnded says that the session of the link was ended.
	SignInEnded SignInState = "ended"
	// SignInInvalid says that the link does not work: part of it is missing, or it is
	// for another portal.
	SignInInvalid SignInState = "invalid"
	// SignInUnavailable says that the link cannot be checked now. Its button tries
	// again.
	SignInUnavailable SignInState = "unavailable"
	// SignInRefused says that the browser cannot sign in this way. SignInPage.Err
	// is [ErrNotNavigation], [ErrCrossOrigin], [ErrPlainHTTP] or [ErrCookieSize].
	SignInRefused SignInState = "refused"
	// SignInSent says that a new link is on its way, if the customer still exists.
	SignInSent SignInState = "sent"
	// SignInNoRecovery says that no new link can be sent, and where to get one.
	SignInNoRecovery SignInState = "no_recovery"
	// SignInWait says that too many new links were asked for.
	SignInWait SignInState = "wait"
)

// A SignInPage is what a page of sign-in shows.
type SignInPage struct {
	// State names the page.
	State SignInState
	// Err is why the link is refused, nil for [SignInConfirm] and [SignInSent].
	Err error
	// Session is the session of the link, if it is known: it shows whom the link is
	// for, and Session.ReturnURL is the way back to the shop. The browser is not
	// signed in yet. If the link holds a code, ExpiresAt is the end of the code. The zero
	// Session stands for unknown.
	Session Session
	// Current is the session that is alive in this browser and would be replaced,
	// with [SignInConfirm], if it is another customer's, member's or organization's.
	// Otherwise it is the zero Session.
	Current Session
	// SupportURL is where the organization helps its customers, or empty. It is
	// known with [SignInNoRecovery] only. Like Session.ReturnURL it is http or
	// https.
	SupportURL string
	// Title, Text and Button are the words of the default page, in English. Button
	// is empty where there is no form.
	Title, Text, Button string
	// Fields are the hidden fields of the form, by name. The form has the method
	// POST and no action, so that it goes to the address of the page.
	Fields map[string]string
}

// A signInText is what a page says. Its form, if it has a button, sends fields.
type signInText struct {
	state               SignInState
	title, text, button string
	recovers            bool // the button asks for a new link
}

// askText returns what the page of confirmation says.
func askText(other bool) signInText {
	if other {
		return signInText{
			SignInConfirm, "Switch to another account?",
			"Another account is signed in on this browser. This link is for a different one. If you did not ask for it, close this page.",
			"Switch account", false,
		}
	}
	return signInText{
		SignInConfirm, "Sign in to your account",
		"Press the button to continue. If you did not ask for this link, close this page.", "Sign in", false,
	}
}

// refusalText returns what the page for an error says.
//
//nolint:cyclop // a table
func refusalText(err error) signInText {
	const newLink = "Send me a new link"
	switch {
	case cannotTell(err), errors.Is(err, ErrIssuerUnavailable):
		return signInText{SignInUnavailable, "Please try again", "We cannot check your link at the moment. Stay on this page and try again in a minute.", "Try again", false}
	case errors.Is(err, ErrExpired), errors.Is(err, ErrUnknownKey):
		// The key of an old link may have been removed.
		return signInText{SignInExpired, "This link has expired", "Links work for a limited time.", newLink, true}
	case errors.Is(err, ErrCodeUsed):
		return signInText{SignInUsed, "This link has already been used", "Each link works once.", newLink, true}
	case errors.Is(err, ErrRevoked):
		return signInText{SignInEnded, "This session has ended", "You signed out, or the shop ended it. Open your account from the shop again.", "", false}
	case errors.Is(err, ErrRateLimited):
		return signInText{SignInWait, "Please wait", "You have asked for several links. Check your mail, or try again in a few minutes.", newLink, true}
	case errors.Is(err, ErrNoRecovery):
		return signInText{SignInNoRecovery, "We cannot send you a new link", "Open your account from the shop again, or contact its support.", "", false}
	case errors.Is(err, ErrNotNavigation):
		return signInText{SignInRefused, "Open this link in its own tab", "For your safety, it does not work inside another page.", "", false}
	case errors.Is(err, ErrCrossOrigin):
		return signInText{SignInRefused, "Open the link again", "Your browser did not confirm that you pressed the button on our page. Open the link again, or try another browser.", "", false}
	case errors.Is(err, ErrPlainHTTP):
		return signInText{SignInRefused, "Sign-in needs a secure connection", "The address of this page begins with http://. Your browser can stay signed in only over https://.", "", false}
	case errors.Is(err, ErrCookieSize):
		return signInText{SignInRefused, "Your browser cannot stay signed in", "The link is too long for a cookie. Please tell the shop.", "", false}
	default:
		return signInText{SignInInvalid, "This link does not work", "Part of it may be missing. Copy the whole link, or ask the shop for a new one.", "", false}
	}
}

// page returns the page with a text.
func (a *arrival) page(text signInText) SignInPage {
	page := SignInPage{State: text.state, Session: a.session, Title: text.title, Text: text.text, Button: text.button}
	switch {
	case text.button == "":
	case text.recovers && a.codes.recoverURL == "":
		page.Text, page.Button = page.Text+" Open your account from the shop again.", ""
	case text.recovers || a.recover:
		page.Fields = map[string]string{recoverField: "true"}
	case a.link.kind == codeLink:
		// The second try is the same, or its code would be used up.
		if !isRedemption(a.redemption) {
			a.redemption = rand.Text()
		}
		page.Fields = map[string]string{redemptionField: a.redemption}
	}
	return page
}

// ask shows the page of confirmation.
func (a *arrival) ask(prior priorSession, other bool) {
	page := a.page(askText(other))
	if other {
		page.Current = prior.session
	}
	a.show(http.StatusOK, page)
}

// refuse answers a link that does not sign in.
func (a *arrival) refuse(err error) { a.refuseWith(err, "") }

// refuseWith also says where the organization helps its customers.
func (a *arrival) refuseWith(err error, supportURL string) {
	denial := denialFor(err)
	a.verifier.challenge(a.w.Header(), &denial, nil)
	if a.config.OnError == nil {
		page := a.page(refusalText(err))
		page.Err, page.SupportURL = err, supportURL
		a.show(denial.status, page)
		return
	}
	if a.stale {
		removeCookie(a.w, a.r)
	}
	header := a.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	guarded := &deniedWriter{ResponseWriter: a.w, status: denial.status}
	a.config.OnError(guarded, a.r, err)
	if !guarded.wrote {
		denial.write(a.w)
	}
}

// show writes a page.
func (a *arrival) show(status int, page SignInPage) {
	if a.stale {
		removeCookie(a.w, a.r)
	}
	w := &pageWriter{ResponseWriter: a.w, status: status}
	if a.config.Page != nil {
		a.config.Page(w, a.r, page)
	}
	if !w.wrote {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash()+"'; form-action 'self'; base-uri 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		// An error means that the client is gone.
		_, _ = w.Write([]byte(page.html()))
	}
}

// A pageWriter gives a page the headers that keep the link safe, whatever the page
// says, and its status unless the page has one that is no success.
type pageWriter struct {
	http.ResponseWriter

	status int
	wrote  bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *pageWriter) WriteHeader(status int) {
	if status >= http.StatusOK && !w.wrote {
		w.wrote = true
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		// The form must show its origin, which no-referrer forbids.
		header.Set("Referrer-Policy", "same-origin")
		// A second policy restricts the first, whatever that is (CSP Level 3,
		// Section 8.1).
		header.Add("Content-Security-Policy", "frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		if status < http.StatusMultipleChoices {
			status = w.status
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *pageWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(w.status)
	}
	return w.ResponseWriter.Write(b)
}

// signInStyle is the style of the default page.
const signInStyle = `:root{color-scheme:light dark;font:100%/1.5 system-ui,sans-serif}` +
	`body{margin:0;background:light-dark(#f4f5f7,#16181d);color:light-dark(#1b1e24,#e8eaee)}` +
	`main{box-sizing:border-box;max-width:28rem;margin:0 auto;padding:15vh 1.5rem 2rem}` +
	`h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}p{margin:0 0 1.5rem}` +
	`button{font:inherit;font-weight:600;width:100%;min-height:3rem;padding:.5rem 1rem;border:0;border-radius:.5rem;cursor:pointer;` +
	`background:light-dark(#1d4ed8,#93b4ff);color:light-dark(#fff,#10131a)}` +
	`a{color:light-dark(#1d4ed8,#93b4ff);margin-right:1.5rem}` +
	`:focus-visible{outline:3px solid light-dark(#1b1e24,#e8eaee);outline-offset:3px}`

// styleHash allows the style of the default page, and no other.
func styleHash() string {
	sum := sha256.Sum256([]byte(signInStyle))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// html returns the default page.
func (p *SignInPage) html() string {
	var b strings.Builder
	title := html.EscapeString(p.Title)
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width\">\n<title>" + title + "</title>\n" +
		"<style>" + signInStyle + "</style>\n<main>\n<h1>" + title + "</h1>\n<p>" + html.EscapeString(p.Text) + "</p>\n")
	if p.Button != "" {
		b.WriteString("<form method=\"post\">\n")
		for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
			b.WriteString("<input type=\"hidden\" name=\"" + html.EscapeString(name) + "\" value=\"" + html.EscapeString(p.Fields[name]) + "\">\n")
		}
		b.WriteString("<p><button>" + html.EscapeString(p.Button) + "</button></p>\n</form>\n")
	}
	if p.State != SignInConfirm {
		writeLink(&b, p.SupportURL, "Contact support")
		writeLink(&b, p.Session.ReturnURL, "Back to the shop")
	}
	b.WriteString("</main>\n</html>\n")
	return b.String()
}

// writeLink writes a link, if there is an address.
func writeLink(b *strings.Builder, address, text string) {
	if isWebAddress(address) {
		b.WriteString("<a href=\"" + html.EscapeString(address) + "\">" + text + "</a>\n")
	}
}

// isWebAddress reports whether a page may link to an address: "javascript:" is one,
// too.
func isWebAddress(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}
