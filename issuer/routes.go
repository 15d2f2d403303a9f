package issuer

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/customersession/customersession/keys"
)

// routes is the whole public surface on one screen.
func (s *Server) routes(trusted []netip.Prefix) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	e.IPExtractor = clientAddress(trusted)
	e.Use(s.observe, middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: true, LogErrorFunc: s.logPanic,
	}), commonHeaders)

	e.POST("/v1/customer-sessions", handle(s.createSession))
	e.POST("/v1/customer-sessions/", handle(s.createSession))
	e.GET("/v1/customer-portal/customer-session/introspect", handle(s.introspectPortal))
	e.GET("/v1/customer-portal/customer-session/user", handle(s.showUser))
	e.POST("/oauth2/introspect", handle(s.introspectToken))

	readable := []string{http.MethodGet, http.MethodHead}
	e.Match(readable, "/.well-known/jwks.json", echo.WrapHandler(keys.NewHandler(s.keys)))
	e.Match(readable, "/.well-known/openid-configuration", s.openIDConfiguration)
	e.Match(readable, "/.well-known/oauth-authorization-server", s.authorizationServer)
	e.Match(readable, "/openapi.json", serveOpenAPI)
	docs := newDocs()
	e.Match(readable, "/docs", docs)
	e.Match(readable, "/docs/*", docs)
	return e
}

// clientAddress tells who asks: the peer, or what trusted proxies say.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{
		echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false),
	}
	for _, prefix := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP:   prefix.Addr().AsSlice(),
			Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// collapseSlashes lets "//v1/…", which clients make of a base URL with a slash
// at the end, find its route. A redirect would not do: clients do not send
// their credentials along.
func collapseSlashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for strings.Contains(r.URL.Path, "//") {
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(r.URL.Path, "//", "/"), ""
		}
		next.ServeHTTP(w, r)
	})
}

// commonHeaders sets what every answer has.
func commonHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set("X-Content-Type-Options", "nosniff")
		// Newer clients name the version of the API that they speak, and
		// expect it back.
		switch version := c.Request().Header.Get("Polar-Version"); version {
		case "2026-04", "2026-10", "2027-01":
			header.Set("Polar-Version", version)
		}
		// Echo would answer these by itself, with success.
		if c.Request().Method == http.MethodOptions && c.Path() != "" {
			return echo.MethodNotAllowedHandler(c)
		}
		return next(c)
	}
}
