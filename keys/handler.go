package keys

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// retryAfter is when a consumer may ask again while no key is published, in
// seconds. An operator is expected to end that state soon.
const retryAfter = "10"

// NewHandler returns a handler that serves the JWK Set of the ring that current
// returns, for GET and HEAD, with what caches need: a strong ETag, status 304
// for a cache that is up to date (RFC 9110, Section 13.1.2), and the max-age of
// the schedule. Without a ring (nil) or a published key it answers 503.
// Browsers of any origin may read it: it holds only public keys.
func NewHandler(current func() *Ring) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, `{"detail":"Method Not Allowed"}`)
			return
		}
		var d document
		if ring := current(); ring != nil {
			d = ring.jwkSet(time.Now())
		}
		if d.body == nil {
			header.Set("Retry-After", retryAfter)
			refuse(w, http.StatusServiceUnavailable, `{"error":"ServiceUnavailable","detail":"No key is published."}`)
			return
		}
		header.Set("Content-Type", jwk.MediaType)
		header.Set("ETag", d.etag)
		header.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(d.maxAge/time.Second))+", must-revalidate")
		// It handles If-None-Match, HEAD and Content-Length.
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.body))
	})
}

// refuse writes an error that must not be cached.
func refuse(w http.ResponseWriter, status int, body string) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // fails only if the client is gone; net/http drops the body for HEAD
}
