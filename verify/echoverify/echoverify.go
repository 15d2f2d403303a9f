// Package echoverify is Echo middleware that passes on only requests with a
// customer session.
//
//	e := echo.New()
//	e.Use(echoverify.New(v))
//	e.GET("/account", func(c echo.Context) error {
//		session, _ := echoverify.FromContext(c)
//		…
//	})
//
// The context of the request has the token, too: [verify.Token] and
// [verify.Verifier.User] take c.Request().Context().
//
// Other requests are answered as by [verify.Verifier.Middleware]. The answers
// bypass Echo's HTTPErrorHandler, so an error handler cannot turn one into a
// success.
package echoverify

import (
	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/verify"
)

// New returns middleware that passes on requests with a valid bearer token; see
// [verify.Verifier.Middleware].
func New(v *verify.Verifier) echo.MiddlewareFunc {
	return echo.WrapMiddleware(v.Middleware)
}

// NewWithConfig returns middleware that passes on the requests that config
// allows: for example, only with certain scopes, or also without a session. See
// [verify.Verifier.NewMiddleware].
func NewWithConfig(v *verify.Verifier, config verify.MiddlewareConfig) echo.MiddlewareFunc {
	return echo.WrapMiddleware(v.NewMiddleware(config))
}

// FromContext returns the session of the request; ok is false when the
// middleware passed the request on without a session, or did not run.
func FromContext(c echo.Context) (session verify.Session, ok bool) {
	return verify.FromContext(c.Request().Context())
}
