// Package wire declares the wire format of tokens and of the feed of
// revocations, once for the issuer, which writes them, and for package verify,
// which reads them. A service that uses package verify needs nothing of it.
package wire

// What every token says, and how long it may be.
const (
	// TokenType is the "typ" header parameter. Explicit typing keeps a token
	// that was made for another purpose from passing as a session (RFC 8725,
	// Section 3.11).
	TokenType = "customer-session+jwt"
	// CodeType is the "typ" of the code that a portal link may hold instead of a
	// token. Its audience is the issuer, which exchanges it for a session, once.
	CodeType = "customer-session-code+jwt"
	// Scope is the scope of every session.
	Scope = "customer_portal:write"
	// RecoverPath is the path, below the issuer's URL, of the call that asks for a new
	// link, with an expired token or a code as bearer.
	RecoverPath = "/v1/customer-portal/customer-session/recover"
	// MaxTokenLength is the length of the longest token that is accepted, in
	// bytes.
	MaxTokenLength = 4096
	// CookieName is the name of the cookie that holds a token. It begins with
	// __Host-: a browser takes such a cookie only when it is Secure, for this
	// host alone and for all of its paths, so that no other host of the domain
	// can set or read it (RFC 6265bis, Section 4.1.3.2).
	CookieName = "__Host-customer_session"
	// MaxIssuedTokenLength is the length of the longest token that is issued,
	// in bytes. Browsers ignore a cookie with more than 4096 bytes of name and
	// value (RFC 6265bis, Section 5.7).
	MaxIssuedTokenLength = 4096 - len(CookieName)
	// MaxStringLength is the length of the longest string claim, in bytes.
	MaxStringLength = 255
	// MaxReturnURLLength is the length of the longest "return_url" claim, in
	// bytes.
	MaxReturnURLLength = 2083
)

// Names of claims. The first seven are required.
const (
	ClaimIssuer         = "iss" // RFC 7519, Section 4.1.1
	ClaimAudience       = "aud" // RFC 7519, Section 4.1.3
	ClaimCustomerID     = "sub" // RFC 7519, Section 4.1.2
	ClaimSessionID      = "sid" // OpenID Connect Front-Channel Logout 1.0, Section 3
	ClaimOrganizationID = "org"
	ClaimIssuedAt       = "iat"       // RFC 7519, Section 4.1.6
	ClaimExpiresAt      = "exp"       // RFC 7519, Section 4.1.4
	ClaimNotBefore      = "nbf"       // RFC 7519, Section 4.1.5; the issuer writes none
	ClaimClientID       = "client_id" // RFC 8693, Section 4.3
	ClaimMemberID       = "member_id" // only when the session is a member's
	ClaimRole           = "role"      // the member's, when the session was issued
	ClaimReturnURL      = "return_url"
	ClaimScope          = "scope" // RFC 8693, Section 4.2
	// ClaimSessionExpiresAt is in a code only: the "exp" of its session, which is
	// later than that of the code.
	ClaimSessionExpiresAt = "session_exp"
)

// ExchangePath is the path, below the issuer's URL, at which a portal exchanges
// a code for its session.
const ExchangePath = "/v1/customer-sessions/exchange"
