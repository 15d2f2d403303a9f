package verify

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// TokenParameter is the query parameter of a portal link that holds the
// token.
const TokenParameter = "customer_session_token"

// SignIn handles the landing route of a portal. A request with a token in its
// query, as portal links have, is signed in: the token moves into a cookie that
// expires with the session, and the browser is redirected to the same address
// without the token. So the token stays out of bookmarks, the visible history,
// the logs of this site and the Referer header. Every other request goes to
// next, which is usually a page behind [Verifier.NewMiddleware] with Cookie.
//
// A link that has expired or is bad is answered by onError, which should show a
// page that says so; see [MiddlewareConfig] for what it may do. Nil shows a
// short text.
//
// Anyone who has a link can sign in with it, or get someone else to open it: the
// page should always show who is signed in.
func (v *Verifier) SignIn(next http.Handler, onError func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	config := &MiddlewareConfig{OnError: onError}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		tokens, isLink := query[TokenParameter]
		if !isLink || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if len(tokens) != 1 {
			v.deny(w, r, ErrInvalidRequest, config)
			return
		}
		session, err := v.Verify(r.Context(), tokens[0])
		if err != nil {
			v.deny(w, r, err, config)
			return
		}
		http.SetCookie(w, sessionCookie(tokens[0], session.ExpiresAt))
		query.Del(TokenParameter)
		header.Set("Location", localAddress(r.URL, query))
		w.WriteHeader(http.StatusSeeOther)
	})
}

// localAddress returns the address of a request with another query, without
// its host. A path that begins with two slashes would name another host.
func localAddress(u *url.URL, query url.Values) string {
	address := "/" + strings.TrimLeft(u.EscapedPath(), "/")
	if encoded := query.Encode(); encoded != "" {
		address += "?" + encoded
	}
	return address
}

// SignOut handles the sign-out route of a portal: it ends the session, removes the
// cookie of [Verifier.SignIn] and redirects the browser to a path of this site. It
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
		http.SetCookie(w, sessionCookie("", time.Unix(1, 0)))
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", path)
		w.WriteHeader(http.StatusSeeOther)
	})
}
