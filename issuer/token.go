package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/jsontext"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/wire"
)

// Reasons why no token is made.
var (
	errSigner  = errors.New("signer is unavailable")
	errTooLong = errors.New("token would not fit a cookie")
)

// A claimSet is the claims of a token.
type claimSet struct {
	issuer, audience    string
	sessionID           uuid.UUID
	customerID          uuid.UUID
	organizationID      uuid.UUID
	clientID            string            // of the API key: base64url, nothing to escape
	member              *customers.Member // its ID and role; nil if the session is the customer's own
	issuedAt, expiresAt time.Time         // whole seconds
	returnURL           string            // may be empty
	// sessionExpiresAt is zero in a token. In a code it is when its session expires.
	sessionExpiresAt time.Time
}

// isCode reports whether the claims are those of a code.
func (c *claimSet) isCode() bool { return !c.sessionExpiresAt.IsZero() }

// signToken makes the compact JWS of the claims (RFC 7515, Section 3.1): a token or
// a code. The error wraps errSigner, errTooLong or [keys.ErrNoSigningKey].
func signToken(ctx context.Context, key *keys.SigningKey, c *claimSet) (string, error) {
	if c.expiresAt.After(key.LatestExpiry) {
		return "", errOutlives(key)
	}
	// On the stack, unless the return URL is long.
	var scratch [768]byte
	typ, longest := wire.TokenType, wire.MaxIssuedTokenLength
	if c.isCode() {
		typ, longest = wire.CodeType, wire.MaxTokenLength // it is in no cookie
	}
	text := appendHeader(scratch[:0], key, typ)
	headerLength := len(text)
	text = c.append(text)

	base64url := base64.RawURLEncoding
	size := base64url.EncodedLen(headerLength) + base64url.EncodedLen(len(text)-headerLength) +
		base64url.EncodedLen(key.Public.SignatureSize()) + len("..")
	if size > longest {
		return "", errTooLong
	}
	token := make([]byte, 0, size)
	token = base64url.AppendEncode(token, text[:headerLength])
	token = append(token, '.')
	token = base64url.AppendEncode(token, text[headerLength:])
	signature, err := key.Signer.Sign(ctx, token)
	if err != nil {
		return "", fmt.Errorf("%w: signing with key %s: %w", errSigner, key.Public.ID(), err)
	}
	if len(signature) != key.Public.SignatureSize() {
		return "", fmt.Errorf("%w: key %s made a signature of %d bytes", errSigner, key.Public.ID(), len(signature))
	}
	token = append(token, '.')
	return string(base64url.AppendEncode(token, signature)), nil
}

// errOutlives is the error for a session that would outlive its key. Verifiers
// drop the key, and would refuse a token that has not expired.
func errOutlives(key *keys.SigningKey) error {
	return fmt.Errorf("%w: session would end after %s, the latest expiry that key %s may sign; run keys rotate",
		keys.ErrNoSigningKey, key.LatestExpiry.UTC().Format(time.RFC3339), key.Public.ID())
}

// appendHeader appends the JOSE header: exactly what verify accepts.
func appendHeader(dst []byte, key *keys.SigningKey, typ string) []byte {
	dst = append(dst, `{"alg":"`...)
	dst = append(dst, key.Public.Algorithm()...)
	dst = append(dst, `","kid":"`...)
	dst = append(dst, key.Public.ID()...) // a thumbprint: nothing to escape
	dst = append(dst, `","typ":"`...)
	dst = append(dst, typ...)
	return append(dst, `"}`...)
}

// append appends the claims as JSON.
func (c *claimSet) append(dst []byte) []byte {
	dst = append(dst, `{"`+wire.ClaimIssuer+`":`...)
	dst = ijson.AppendString(dst, c.issuer)
	dst = append(dst, `,"`+wire.ClaimAudience+`":`...)
	dst = ijson.AppendString(dst, c.audience)
	dst = append(dst, `,"`+wire.ClaimCustomerID+`":`...)
	dst = jsontext.AppendUUID(dst, &c.customerID)
	dst = append(dst, `,"`+wire.ClaimSessionID+`":`...)
	dst = jsontext.AppendUUID(dst, &c.sessionID)
	dst = append(dst, `,"`+wire.ClaimOrganizationID+`":`...)
	dst = jsontext.AppendUUID(dst, &c.organizationID)
	dst = append(dst, `,"`+wire.ClaimIssuedAt+`":`...)
	dst = strconv.AppendInt(dst, c.issuedAt.Unix(), 10)
	dst = append(dst, `,"`+wire.ClaimExpiresAt+`":`...)
	dst = strconv.AppendInt(dst, c.expiresAt.Unix(), 10)
	dst = append(dst, `,"`+wire.ClaimClientID+`":"`...)
	dst = append(dst, c.clientID...)
	dst = append(dst, '"')
	if c.member != nil {
		dst = append(dst, `,"`+wire.ClaimMemberID+`":`...)
		dst = jsontext.AppendUUID(dst, &c.member.ID)
		dst = append(dst, `,"`+wire.ClaimRole+`":"`...)
		dst = append(dst, c.member.Role...) // a constant: nothing to escape
		dst = append(dst, '"')
	}
	if c.returnURL != "" {
		dst = append(dst, `,"`+wire.ClaimReturnURL+`":`...)
		dst = ijson.AppendString(dst, c.returnURL)
	}
	if c.isCode() {
		dst = append(dst, `,"`+wire.ClaimSessionExpiresAt+`":`...)
		dst = strconv.AppendInt(dst, c.sessionExpiresAt.Unix(), 10)
		return append(dst, '}')
	}
	return append(dst, `,"`+wire.ClaimScope+`":"`+wire.Scope+`"}`...)
}

// appendNullable appends a JSON string, or null for the empty one.
func appendNullable(dst []byte, text string) []byte {
	if text == "" {
		return append(dst, "null"...)
	}
	return ijson.AppendString(dst, text)
}
