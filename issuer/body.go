package issuer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// Why a request's body cannot be used.
var (
	errTooLarge    = errors.New("request body is too large")
	errSlowBody    = errors.New("request body did not arrive in time")
	errBrokenBody  = errors.New("request body could not be read")
	errContentType = errors.New("content type is not application/json")
	errCoding      = errors.New("request body is compressed")
)

// noStore keeps an answer with a token, or about one, out of caches (RFC 6749,
// Section 5.1).
func noStore(c *call) {
	c.Response().Header().Set("Cache-Control", "no-store")
}

// writeJSON sends a body that is JSON already, with its length: without it a
// body of over 2 KiB would go out in chunks.
func writeJSON(c *call, status int, body []byte) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}

// readJSON reads a body that is JSON by its Content-Type, or has none.
func readJSON(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	contentType := r.Header.Get(echo.HeaderContentType)
	if contentType != "" && contentType != echo.MIMEApplicationJSON {
		mediaType, _, err := mime.ParseMediaType(contentType)
		if err != nil || mediaType != echo.MIMEApplicationJSON {
			return nil, errContentType
		}
	}
	return readBody(w, r)
}

// readBody reads a body of a bounded length. Chunked bodies are read up to the
// same limit.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	for _, coding := range r.Header.Values(echo.HeaderContentEncoding) {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			// RFC 9110, Section 15.5.16.
			w.Header().Set(echo.HeaderAcceptEncoding, "identity")
			return nil, errCoding
		}
	}
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	size := r.ContentLength
	if size < 0 { // chunked
		size = 511
	}
	// One byte more than announced, so that the end is seen without growing.
	body := make([]byte, 0, size+1)
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	for {
		n, err := limited.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, bodyError(err)
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}

// bodyError returns why reading a body failed.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody
	default:
		// Shorter than announced, or malformed chunks: the client's fault.
		return errBrokenBody
	}
}
