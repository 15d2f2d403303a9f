package verify

// The wire format of a session's token. It is declared here and nowhere else:
// the issuer writes with these names what this package reads.
const (
	// TokenType is the "typ" header parameter: explicit typing keeps a token
	// of another purpose from passing for ours (RFC 8725, Section 3.11).
	TokenType = "customer-session+jwt"
	// Scope is what every session allows.
	Scope = "customer_portal:write"
	// MaxTokenLength is the longest token that is looked at, in bytes.
	MaxTokenLength = 4096
	// MaxStringLength is the longest string claim, in bytes.
	MaxStringLength = 255
	// MaxReturnURLLength is the longest "return_url" claim, in bytes.
	MaxReturnURLLength = 2083
)

// Names of claims. The first seven are required.
const (
	ClaimIssuer         = "iss" // RFC 7519, Section 4.1.1
	ClaimAudience       = "aud" // RFC 7519, Section 4.1.3
	ClaimCustomerID     = "sub" // RFC 7519, Section 4.1.2
	ClaimSessionID      = "sid" // OpenID Connect Front-Channel Logout 1.0, Section 3
	ClaimOrganizationID = "org"
	ClaimIssuedAt       = "iat" // RFC 7519, Section 4.1.6
	ClaimExpiresAt      = "exp" // RFC 7519, Section 4.1.4
	ClaimNotBefore      = "nbf" // RFC 7519, Section 4.1.5; we write none
	ClaimReturnURL      = "return_url"
	ClaimScope          = "scope" // RFC 8693, Section 4.2
)
