package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/verify"
)

// missingScopeError is the error for a valid API key without the scope.
type missingScopeError struct{ scope organizations.Scope }

func (e *missingScopeError) Error() string { return "API key lacks the scope " + string(e.scope) }

// tooManyError is the error for a client that must wait.
type tooManyError struct{ wait time.Duration }

func (e *tooManyError) Error() string { return "too many requests" }

// errCustomerToken is the error for a customer's token in place of an API key.
var errCustomerToken = errors.New("a customer's token is not an API key")

// errNoScheme is the error for a key or token without "Bearer" before it.
var errNoScheme = fmt.Errorf("%w: it lacks its scheme", verify.ErrNoToken)

// apiKeyID identifies an API key across reloads of the file.
type apiKeyID struct {
	organization uuid.UUID
	name         string
}

// authorize returns the API key of a request, which has the scope. A request
// without a valid key counts against the address of its client.
func (s *Server) authorize(c *call, scope organizations.Scope) (*organizations.APIKey, error) {
	key, err := s.apiKey(c)
	if err != nil {
		return nil, s.refuseAnonymous(c, err)
	}
	c.caller = key
	if wait, ok := s.keyLimit.Allow(apiKeyID{key.Organization.ID, key.Name}); !ok {
		s.metrics.limited.WithLabelValues("api_key").Inc()
		return nil, &tooManyError{wait}
	}
	if !key.Has(scope) {
		return nil, &missingScopeError{scope}
	}
	return key, nil
}

func (s *Server) apiKey(c *call) (*organizations.APIKey, error) {
	secret, err := bearerToken(c.Request().Header)
	if err != nil {
		return nil, err
	}
	key, err := s.organizations().Authenticate(secret, time.Now())
	if errors.Is(err, organizations.ErrUnknownKey) && strings.Count(secret, ".") == 2 {
		return nil, errCustomerToken
	}
	return key, err
}

// bearerToken returns the key or token of a request.
func bearerToken(header http.Header) (string, error) {
	token, err := verify.BearerToken(header)
	value := header.Get("Authorization")
	if errors.Is(err, verify.ErrNoToken) && value != "" && !strings.Contains(value, " ") {
		return "", errNoScheme
	}
	return token, err
}

// portalSession returns the session of the token in the request. A session that
// asks too often does not count against its address, which others may share.
func (s *Server) portalSession(c *call) (verify.Session, error) {
	return s.heldSession(c, s.verify, s.sessionLimit)
}

// heldSession is portalSession with another judgement of the token, and another limit
// for its session.
func (s *Server) heldSession(
	c *call, judge func(ctx context.Context, token string) (verify.Session, error), limit *ratelimit.Limiter[string],
) (verify.Session, error) {
	token, err := bearerToken(c.Request().Header)
	if err != nil {
		return verify.Session{}, s.refuseAnonymous(c, err)
	}
	session, err := judge(c.Request().Context(), token)
	if err != nil {
		return verify.Session{}, s.refuseAnonymous(c, err)
	}
	if wait, ok := limit.Allow(session.ID); !ok {
		s.metrics.limited.WithLabelValues("session").Inc()
		return verify.Session{}, &tooManyError{wait}
	}
	if wait, ok := s.addressLimit.Allow(clientKey(c)); !ok {
		s.metrics.limited.WithLabelValues("session_address").Inc()
		return verify.Session{}, &tooManyError{wait}
	}
	return session, nil
}

// refuseAnonymous counts a request without valid credentials against its
// address. It returns err, or a *tooManyError.
func (s *Server) refuseAnonymous(c *call, err error) error {
	s.metrics.refused.WithLabelValues(credentialsReason(err)).Inc()
	if wait, ok := s.anonymousLimit.Allow(clientKey(c)); !ok {
		s.metrics.limited.WithLabelValues("address").Inc()
		return &tooManyError{wait}
	}
	return err
}

// clientKey returns the key under which a client's address is limited. Clients
// without an address share one.
func clientKey(c *call) netip.Prefix {
	addr, err := netip.ParseAddr(c.RealIP())
	if err != nil {
		return netip.Prefix{}
	}
	return ratelimit.ClientKey(addr)
}
