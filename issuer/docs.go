package issuer

import (
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

// Addresses are absolute, so that the page works with and without a slash.
const docsPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>customersession API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`

const docsScript = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
`

func serveOpenAPI(c echo.Context) error {
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	header.Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, strings.NewReader(openAPIDocument))
	return nil
}

// newDocs serves a page to read the API and to try it: Swagger UI, from the
// binary, with no other host involved.
func newDocs() echo.HandlerFunc {
	assets := http.StripPrefix("/docs/", statigz.FileServer(static.FS))
	return func(c echo.Context) error {
		header := c.Response().Header()
		switch strings.Trim(strings.TrimPrefix(c.Request().URL.Path, "/docs"), "/") {
		case "":
			header.Set("Content-Security-Policy", docsPolicy)
			return c.HTML(http.StatusOK, docsPage)
		case "start.js":
			return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", []byte(docsScript))
		case "swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png":
			header.Set("Cache-Control", "no-cache") // asked again, with its ETag
			assets.ServeHTTP(c.Response(), c.Request())
			return nil
		default:
			return echo.ErrNotFound
		}
	}
}
