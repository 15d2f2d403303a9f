package issuer

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

// createSession answers POST /v1/customer-sessions/.
func (s *Server) createSession(c *call) error {
	key, err := s.authorize(c, organizations.ScopeWrite)
	if err != nil {
		return err
	}
	body, err := readJSON(c.Response(), c.Request())
	if err != nil {
		return err
	}
	request, err := decodeCreate(body, s.lifetime, s.maxLifetime)
	if err != nil {
		return err
	}
	session, err := s.issue(c.Request().Context(), key, request)
	if err != nil {
		return err
	}
	s.audit(c, key, session)
	noStore(c)
	buffer := s.takeBuffer()
	defer s.giveBuffer(buffer)
	*buffer = session.append((*buffer)[:0])
	return writeJSON(c, http.StatusCreated, *buffer)
}

// audit records who asked for which session: one event for each.
func (s *Server) audit(c *call, key *organizations.APIKey, session *session) {
	s.metrics.issued.WithLabelValues(key.Organization.Slug).Inc()
	s.log(c.Request().Context(), slog.LevelInfo, "session issued",
		slog.String("request_id", c.requestID),
		slog.String("organization_id", key.Organization.ID.String()),
		slog.String("api_key", key.Name),
		slog.String("client_id", key.ClientID),
		slog.String("session_id", session.sessionID.String()),
		slog.String("customer_id", session.customerID.String()),
		slog.String("key_id", session.keyID),
		slog.Time("expires_at", session.expiresAt),
	)
}

// takeBuffer returns a buffer for an answer, which is written at once and not
// kept: most of a session's garbage would be the answer.
func (s *Server) takeBuffer() *[]byte {
	buffer, ok := s.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	return buffer
}

// giveBuffer takes a buffer back, unless one customer's metadata made it huge.
func (s *Server) giveBuffer(buffer *[]byte) {
	const most = 16 << 10
	if cap(*buffer) <= most {
		s.buffers.Put(buffer)
	}
}

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
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	// One byte more than announced, so that the end is seen without growing.
	body := make([]byte, 0, max(r.ContentLength, 511)+1)
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

// bodyError names what went wrong while reading a body.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody
	default:
		// Shorter than announced, or not the chunks it says it is: whatever
		// it was, it was the client's.
		return errBrokenBody
	}
}
