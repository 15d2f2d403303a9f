package verify

import (
	"net/http"
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
	if isHandshake(r.Header) {
		r = r.WithContext(r.Context()) // a copy
		r.Method = http.MethodPost
	}
	return new(http.CrossOriginProtection).Check(r) != nil
}

// isHandshake reports whether a request opens a WebSocket. Gateways that ask for
// authorization may leave Upgrade out, and pages cannot set Sec-WebSocket-Key.
func isHandshake(header http.Header) bool {
	return header.Get("Upgrade") != "" || header.Get("Sec-Websocket-Key") != ""
}
