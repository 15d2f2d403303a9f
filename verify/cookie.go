package verify

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

// sessionCookie returns a cookie that holds a token until it expires. It is Lax:
// a link on another site may lead into the portal, but a form or script there
// may not act in it.
func sessionCookie(token string, expires time.Time) *http.Cookie {
	maxAge := int(time.Until(expires) / time.Second)
	if maxAge <= 0 {
		maxAge = -1 // delete it
	}
	return &http.Cookie{
		Name: wire.CookieName, Value: token, Path: "/", Expires: expires, MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// cookieToken returns the token of a request's cookie, unless another site's
// page sent the request.
func cookieToken(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(wire.CookieName)
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
// that does not say where it comes from has not proved that: browsers send Origin
// with each WebSocket handshake (RFC 6455, Section 4.1).
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}
