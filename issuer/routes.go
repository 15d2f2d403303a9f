package issuer

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/customersession/customersession/issuer/internal/connections"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify/wire"
)

// portalPrefix begins the paths that a customer's browser may call.
const portalPrefix = "/v1/customer-portal/"

// routes is the whole public surface on one screen.
func (s *Server) routes(trusted []netip.Prefix) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	e.IPExtractor = clientAddress(trusted)
	e.Use(s.observe, middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: true, LogErrorFunc: s.logPanic,
	}), takeBackConnection, commonHeaders, portalOrigins(), refuseOptions)

	readable := []string{http.MethodGet, http.MethodHead}
	e.POST("/v1/customer-sessions", handle(s.createSession))
	e.POST("/v1/customer-sessions/", handle(s.createSession))
	e.Match(readable, portalPrefix+"customer-session/introspect", handle(s.introspectPortal))
	e.Match(readable, portalPrefix+"customer-session/user", handle(s.showUser))
	e.POST(wire.RecoverPath, handle(s.recoverSession))
	e.POST("/oauth2/introspect", handle(s.introspectToken))

	e.POST(wire.ExchangePath, handle(s.exchangeCode))

	e.DELETE("/v1/customer-sessions/:id", handle(s.deleteSession))
	e.POST("/v1/customer-sessions/revoke", handle(s.revokeSessions))
	e.DELETE(portalPrefix+"customer-session", handle(s.endPortalSession))
	e.POST(revocationPath, handle(s.revokeToken))

	e.Match(readable, "/.well-known/jwks.json", echo.WrapHandler(keys.NewHandler(s.published)))
	e.Match(readable, wire.RevocationsPath, handle(s.serveFeed))
	e.Match(readable, "/.well-known/openid-configuration", s.openIDConfiguration)
	e.Match(readable, "/.well-known/oauth-authorization-server", s.authorizationServer)
	e.Match(readable, "/", newHome(s.issuer))
	e.Match(readable, "/openapi.json", serveOpenAPI)
	docs := newDocs()
	e.Match(readable, "/docs", docs)
	e.Match(readable, "/docs/*", docs)
	return e
}

// clientAddress returns the address of a request's client in its one form, or an
// empty string: what else a client or proxy may write reaches no log.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	return func(r *http.Request) string {
		if addr := ratelimit.ClientAddr(r, trusted); addr.IsValid() {
			return addr.String()
		}
		return ""
	}
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

// takeBackConnection lets a connection on which a consumer waited count like any
// other once it is used for something else.
func takeBackConnection(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Path() != wire.RevocationsPath {
			connections.TakeBack(c.Request().Context())
		}
		return next(c)
	}
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
		// Echo adds OPTIONS to the methods of every path.
		if allow, ok := c.Get(echo.ContextKeyHeaderAllow).(string); ok && !isPortalCall(c) {
			c.Set(echo.ContextKeyHeaderAllow, strings.TrimPrefix(allow, "OPTIONS, "))
		}
		return next(c)
	}
}

func isPortalCall(c echo.Context) bool {
	return strings.HasPrefix(c.Request().URL.Path, portalPrefix)
}

// portalOrigins lets pages of any origin make the portal calls and read their
// answers, refusals included. It answers the preflights, which have no
// credentials. Cookies are not allowed.
func portalOrigins() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		Skipper:      func(c echo.Context) bool { return !isPortalCall(c) },
		AllowOrigins: []string{"*"},
		// The star does not include Authorization. Older browsers do not know it.
		AllowHeaders:  []string{"Authorization", "Content-Type", "Polar-Version", echo.HeaderXRequestID, "*"},
		ExposeHeaders: []string{"Polar-Version", "Retry-After", "WWW-Authenticate", echo.HeaderXRequestID},
		MaxAge:        3600,
	})
}

// refuseOptions refuses what portalOrigins has not answered. Echo would answer
// with success.
func refuseOptions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions && c.Path() != "" {
			return echo.MethodNotAllowedHandler(c)
		}
		return next(c)
	}
}
