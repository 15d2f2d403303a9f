package authz

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/customersession/customersession/verify"
)

// The headers of an answer that lets a request pass. The last two are there only in
// the session of a member.
const (
	CustomerIDHeader     = "X-Customer-Id"
	SessionIDHeader      = "X-Session-Id"
	OrganizationIDHeader = "X-Organization-Id"
	MemberIDHeader       = "X-Member-Id"
	MemberRoleHeader     = "X-Member-Role"
)

// methodHeader is the method of the client's request; the gateway's own request
// is a GET.
const methodHeader = "X-Forwarded-Method"

// Handler returns the handler for gateways.
func (s *Server) Handler() http.Handler {
	protect := s.verifier.NewMiddleware(verify.MiddlewareConfig{
		Scopes: s.scopes, Cookie: s.cookie, OnError: s.note,
	})
	handler := protect(http.HandlerFunc(s.identify))
	if !s.cookie {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.WithContext(r.Context()) // a copy
		asked.Method = method(r)
		handler.ServeHTTP(w, asked)
	})
}

// identify answers whose session it is. It ignores the client's headers
// of these names.
func (s *Server) identify(w http.ResponseWriter, r *http.Request) {
	session, ok := verify.FromContext(r.Context())
	if !ok {
		// The middleware passes no request without one.
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header.Set(CustomerIDHeader, session.CustomerID)
	header.Set(SessionIDHeader, session.ID)
	header.Set(OrganizationIDHeader, session.OrganizationID)
	if session.MemberID != "" {
		header.Set(MemberIDHeader, session.MemberID)
		header.Set(MemberRoleHeader, session.Role)
	}
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(s.status)
}

// note writes no answer: the default one is right for gateways.
func (s *Server) note(_ http.ResponseWriter, r *http.Request, err error) {
	s.logger.LogAttrs(r.Context(), slog.LevelDebug, "refused", slog.String("reason", err.Error()))
}

// method returns the method by which a cookie is accepted. A page of another site
// can make the browser send it with a POST, which must not look like a harmless
// GET: neither if the gateway does not send the client's method, nor if the
// client sends the header and the gateway uses the client's own method.
//
// Nor must a WebSocket handshake, and the gateway may leave out all that shows it
// but Origin. A link or an image has no Origin, so a request that has one is
// treated as one that acts.
func method(r *http.Request) string {
	said := r.Header[methodHeader]
	switch {
	case r.Method == http.MethodConnect || slices.Contains(said, http.MethodConnect):
		return http.MethodConnect
	case len(said) == 1 && isSafe(said[0]) && isSafe(r.Method) && r.Header["Origin"] == nil:
		return said[0]
	default:
		return http.MethodPost
	}
}

// isSafe reports whether a method is read-only (RFC 9110, Section 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
