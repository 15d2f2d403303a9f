package issuer

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// docsPolicy lets the page load its own files and call this server, and nothing
// else. Its icons are data: URLs. There is no inline script and no inline style.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// The parts of the pages that are ours.
var (
	//go:embed docs/page.html
	docsPage string
	//go:embed docs/page.css
	docsStyle []byte
	//go:embed docs/start.js
	docsScript []byte
	//go:embed docs/home.html
	homePage string
	//go:embed docs/home.css
	homeStyle string
)

func serveOpenAPI(c echo.Context) error {
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	header.Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, strings.NewReader(openAPIDocument))
	return nil
}

// newDocs serves a page to read the API and to try it: Swagger UI, from the
// binary, with no other host involved. Its links are relative, so that it works
// below a path that a gateway removes.
func newDocs() echo.HandlerFunc {
	// From an address with a slash at its end, links lead one level lower.
	pageWithSlash := strings.ReplaceAll(docsPage, `="docs/`, `="`)
	assets := http.StripPrefix("/docs/", statigz.FileServer(static.FS))
	return func(c echo.Context) error {
		header := c.Response().Header()
		switch strings.TrimPrefix(c.Request().URL.Path, "/docs") {
		case "":
			header.Set("Content-Security-Policy", docsPolicy)
			return c.HTML(http.StatusOK, docsPage)
		case "/":
			header.Set("Content-Security-Policy", docsPolicy)
			return c.HTML(http.StatusOK, pageWithSlash)
		case "/start.js":
			return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", docsScript)
		case "/page.css":
			return c.Blob(http.StatusOK, "text/css; charset=utf-8", docsStyle)
		case "/swagger-ui.css", "/swagger-ui-bundle.js", "/favicon-32x32.png":
			header.Set("Cache-Control", "no-cache") // asked again, with its ETag
			assets.ServeHTTP(c.Response(), c.Request())
			return nil
		default:
			return echo.ErrNotFound
		}
	}
}

// newHome serves a page that says what this server is. Its links begin with the
// issuer's URL: the page cannot know whether its own address ends with a slash.
func newHome(issuer string) echo.HandlerFunc {
	page := strings.NewReplacer("{issuer}", html.EscapeString(issuer), "{style}", homeStyle).Replace(homePage)
	hash := sha256.Sum256([]byte(homeStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return func(c echo.Context) error {
		c.Response().Header().Set("Content-Security-Policy", policy)
		return c.HTML(http.StatusOK, page)
	}
}
