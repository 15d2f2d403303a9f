package verify

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

const (
	// loopbackCookie is the cookie's name on a loopback address without TLS, where
	// Safari takes no cookie that is Secure.
	loopbackCookie = "customer_session"
	// maxCookie is how many bytes of name and value browsers keep; a longer cookie
	// they ignore (RFC 6265bis, Section 5.7).
	maxCookie = 4096
)

// sessionCookie returns a cookie that holds a token until it expires. It is Lax:
// a link on another site may lead into the portal, but a form or script there
// may not act in it.
func sessionCookie(r *http.Request, token string, expires time.Time) *http.Cookie {
	cookie := &http.Cookie{ //nolint:gosec // it is Secure, but on loopback
		Name: wire.CookieName, Value: token, Path: "/", Expires: expires, MaxAge: max(cookieAge(expires), -1),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if onLoopback(r) {
		cookie.Name, cookie.Secure = loopbackCookie, false
	}
	return cookie
}

// cookieAge returns for how many seconds a cookie is kept.
func cookieAge(expires time.Time) int { return int(time.Until(expires) / time.Second) }

// removeCookie makes the browser forget the session.
func removeCookie(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, sessionCookie(r, "", time.Unix(1, 0)))
	if onLoopback(r) {
		removeSecure(w, r)
	}
}

// removeSecure removes the secure cookie on a loopback address, where some browsers
// keep it, so that it does not hide the other one.
func removeSecure(w http.ResponseWriter, r *http.Request) {
	if len(r.CookiesNamed(wire.CookieName)) > 0 {
		http.SetCookie(w, &http.Cookie{Name: wire.CookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
}

// cookieToken returns the token of a request's cookie, unless another site's
// page sent the request.
func cookieToken(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(wire.CookieName)
	if len(cookies) == 0 && onLoopback(r) {
		cookies = r.CookiesNamed(loopbackCookie)
	}
	switch {
	case len(cookies) == 0 || len(cookies) == 1 && cookies[0].Value == "":
		return "", ErrNoToken
	case len(cookies) > 1:
		return "", ErrInvalidRequest
	case fromElsewhere(r):
		return "", ErrCrossOrigin
	}
	return cookies[0].Value, nil
}

// onLoopback reports whether a browser asked for a loopback address without TLS. A
// proxy may ask for one, too, for a browser that is elsewhere: most say so, nginx as it
// is installed speaks HTTP/1.0, as no browser does, and what the browser says of its
// page must agree.
func onLoopback(r *http.Request) bool {
	if r.TLS != nil || !r.ProtoAtLeast(1, 1) || !isLoopback(hostname(r.Host)) {
		return false
	}
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if r.Header[name] != nil {
			return false
		}
	}
	origin := r.Header.Get("Origin")
	return origin == "" || strings.HasPrefix(origin, "http://") && isLoopback(hostname(strings.TrimPrefix(origin, "http://")))
}

// overPlainHTTP reports whether the page that sent a request was opened over http,
// and not on a loopback address.
func overPlainHTTP(r *http.Request) bool {
	host, plain := strings.CutPrefix(r.Header.Get("Origin"), "http://")
	return plain && !isLoopback(hostname(host))
}

// hostname returns a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// fromElsewhere reports whether a page of another site sent a request that acts.
// A WebSocket handshake does, although it is a GET: any page can open one with
// our cookie, and may then read and write (RFC 6455, Section 10.2).
func fromElsewhere(r *http.Request) bool {
	if isHandshake(r) {
		return !sameOrigin(r)
	}
	return new(http.CrossOriginProtection).Check(r) != nil
}

// isHandshake reports whether a request opens a WebSocket: by HTTP/1.1 (RFC 6455,
// Section 4.1), or by CONNECT with a :protocol, which some servers show as a header
// field (RFC 8441, Section 4; RFC 9220). Gateways that ask for authorization may
// leave out Upgrade, and send a GET for a CONNECT. Pages cannot set the fields that
// begin with Sec-.
func isHandshake(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Websocket-") {
			return true
		}
	}
	return r.Method == http.MethodConnect || r.Header[":protocol"] != nil ||
		strings.Contains(strings.ToLower(strings.Join(r.Header["Upgrade"], ",")), "websocket")
}

// sameOrigin reports whether a page of the same origin sent a request. A request
// that does not say where it comes from has not proved that, although
// [http.CrossOriginProtection] accepts it: browsers send Origin with each WebSocket
// handshake (RFC 6455, Section 4.1) and each POST (Fetch, Section 3.1).
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}
