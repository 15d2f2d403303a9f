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

// clientAddress returns the address of the client: the peer, or the address
// that trusted proxies report.
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

// collapseSlashes routes "//v1/…" like "/v1/…". Clients send it when their base
// URL ends with a slash. They do not send credentials along a redirect.
func collapseSlashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for strings.Contains(r.URL.Path, "//") {
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(r.URL.Path, "//", "/"), ""
		}
		next.ServeHTTP(w, r)
	})
}

// commonHeaders sets the headers of every answer.
func commonHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set("X-Content-Type-Options", "nosniff")
		// Newer clients send the version of the API that they use, and expect it
		// back.
		switch version := c.Request().Header.Get("Polar-Version"); version {
		case "2026-04", "2026-10", "2027-01":
			header.Set("Polar-Version", version)
		}
		// Echo would answer these with success.
		if c.Request().Method == http.MethodOptions && c.Path() != "" {
			return echo.MethodNotAllowedHandler(c)
		}
		return next(c)
	}
}
