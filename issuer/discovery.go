package issuer

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/wire"
)

// metadata is common to both discovery documents. There is no authorization
// endpoint: consumers need the keys only.
type metadata struct {
	Issuer    string `json:"issuer"`
	JWKSetURL string `json:"jwks_uri"`
	// Both specifications require response types and forbid an empty list, so
	// this names one that cannot be requested here.
	ResponseTypes         []string `json:"response_types_supported"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	ServiceDocumentation  string   `json:"service_documentation"`
}

// providerMetadata is the document of OpenID Connect Discovery 1.0, Section 3.
type providerMetadata struct {
	metadata

	SubjectTypes      []string        `json:"subject_types_supported"`
	IDTokenAlgorithms []jwk.Algorithm `json:"id_token_signing_alg_values_supported"`
	Claims            []string        `json:"claims_supported"`
}

// serverMetadata is the document of RFC 8414, Section 2.
type serverMetadata struct {
	metadata

	Scopes             []string `json:"scopes_supported"`
	RevocationEndpoint string   `json:"revocation_endpoint"`
	RevocationAuth     []string `json:"revocation_endpoint_auth_methods_supported"`
}

const (
	jwkSetPath        = "/.well-known/jwks.json"
	introspectionPath = "/oauth2/introspect"
	revocationPath    = "/oauth2/revoke"
)

func (s *Server) openIDConfiguration(c echo.Context) error {
	now := time.Now()
	algorithms := s.algorithms(now)
	if len(algorithms) == 0 {
		return fmt.Errorf("%w: no key is published", keys.ErrNoSigningKey)
	}
	return s.serveMetadata(c, now, providerMetadata{
		metadata:          s.metadata(),
		SubjectTypes:      []string{"public"},
		IDTokenAlgorithms: algorithms,
		Claims: []string{
			wire.ClaimIssuer, wire.ClaimAudience, wire.ClaimCustomerID, wire.ClaimSessionID,
			wire.ClaimOrganizationID, wire.ClaimIssuedAt, wire.ClaimExpiresAt,
			wire.ClaimClientID, wire.ClaimMemberID, wire.ClaimRole, wire.ClaimReturnURL, wire.ClaimScope,
		},
	})
}

func (s *Server) authorizationServer(c echo.Context) error {
	return s.serveMetadata(c, time.Now(), serverMetadata{
		metadata:           s.metadata(),
		RevocationEndpoint: s.issuer + revocationPath,
		RevocationAuth:     []string{"Bearer"},
		Scopes:             []string{wire.Scope, string(organizations.ScopeExchange), string(organizations.ScopeIntrospect), string(organizations.ScopeRevoke), string(organizations.ScopeWrite)},
	})
}

func (s *Server) metadata() metadata {
	return metadata{
		Issuer: s.issuer, JWKSetURL: s.issuer + jwkSetPath,
		ResponseTypes:         []string{"id_token"},
		IntrospectionEndpoint: s.issuer + introspectionPath,
		IntrospectionAuth:     []string{"Bearer"},
		ServiceDocumentation:  s.issuer + "/docs",
	}
}

// serveMetadata answers with a discovery document. It may be cached as long as
// the keys that it leads to.
func (s *Server) serveMetadata(c echo.Context, now time.Time, document any) error {
	header := c.Response().Header()
	seconds := int(s.keys().Manifest().MaxAge(now) / time.Second)
	header.Set("Cache-Control", "public, max-age="+strconv.Itoa(seconds)+", must-revalidate")
	header.Set("Access-Control-Allow-Origin", "*")
	return c.JSON(http.StatusOK, document)
}

// algorithms returns the algorithms of the published keys.
func (s *Server) algorithms(now time.Time) []jwk.Algorithm {
	algorithms := []jwk.Algorithm{}
	for _, key := range s.keys().Manifest().PublishedAt(now).Keys() {
		if !slices.Contains(algorithms, key.Algorithm()) {
			algorithms = append(algorithms, key.Algorithm())
		}
	}
	return algorithms
}
