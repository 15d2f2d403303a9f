// Package echoverify lets only requests with a customer session through to
// the handlers of an Echo application.
//
//	e := echo.New()
//	e.Use(echoverify.New(v))
//	e.GET("/account", func(c echo.Context) error {
//		session, _ := echoverify.FromContext(c)
//		…
//	})
//
// The answers to other requests are those of [verify.Verifier.Middleware];
// they do not pass through Echo's HTTPErrorHandler, so that an error handler
// cannot turn one into a success.
package echoverify

import (
	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/verify"
)

// New returns a middleware that lets requests with a valid bearer token
// through; see [verify.Verifier.Middleware].
func New(v *verify.Verifier) echo.MiddlewareFunc {
	return echo.WrapMiddleware(v.Middleware)
}

// NewWithConfig returns a middleware that lets those through whom config
// allows, e.g. only with certain scopes, or also without a session; see
// [verify.Verifier.NewMiddleware].
func NewWithConfig(v *verify.Verifier, config verify.MiddlewareConfig) echo.MiddlewareFunc {
	return echo.WrapMiddleware(v.NewMiddleware(config))
}

// FromContext returns the session of the request; ok is false when the
// middleware let it through without one, or is not there.
func FromContext(c echo.Context) (session verify.Session, ok bool) {
	return verify.FromContext(c.Request().Context())
}
