package authz

import (
	"log/slog"
	"net/http"

	"github.com/customersession/customersession/verify"
)

// The headers of an answer that lets a request pass.
const (
	CustomerIDHeader     = "X-Customer-Id"
	SessionIDHeader      = "X-Session-Id"
	OrganizationIDHeader = "X-Organization-Id"
)

// methodHeader is where a gateway says with which method the client came: its
// question to us is a GET.
const methodHeader = "X-Forwarded-Method"

// Handler returns the handler that gateways ask.
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

// identify says whose session it is. Nothing but the session has a say in it:
// what the client sent under these names is not looked at.
func (s *Server) identify(w http.ResponseWriter, r *http.Request) {
	session, ok := verify.FromContext(r.Context())
	if !ok {
		// The middleware has not let anybody through without one.
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header.Set(CustomerIDHeader, session.CustomerID)
	header.Set(SessionIDHeader, session.ID)
	header.Set(OrganizationIDHeader, session.OrganizationID)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(s.status)
}

// note writes no answer of its own: the default one is right for gateways.
func (s *Server) note(_ http.ResponseWriter, r *http.Request, err error) {
	s.logger.LogAttrs(r.Context(), slog.LevelDebug, "refused", slog.String("reason", err.Error()))
}

// method returns the method that a cookie is judged by. A page of another site
// may send it along with a POST, and then the question must not look like a
// harmless GET: neither when the gateway does not say how the client came, nor
// when the client says it and the gateway asks with the client's own method.
func method(r *http.Request) string {
	said := r.Header[methodHeader]
	if len(said) == 1 && isSafe(said[0]) && isSafe(r.Method) {
		return said[0]
	}
	return http.MethodPost
}

// isSafe tells whether a method only looks at things (RFC 9110, Section 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
