package verify

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/wire"
)

const (
	maxAudiences = 16
	// maxDate is 9999-12-31T23:59:59Z, the last instant RFC 3339 can write.
	maxDate = 253402300799
)

// claims is a verified payload: a session, and the dates as golang-jwt's
// validator wants them.
type claims struct {
	session                        Session
	issuedAt, expiresAt, notBefore jwt.NumericDate // zero when there is none
	// Most tokens have one audience and one scope; their lists are here.
	audience, scope [1]string
}

// knownClaims are the names that no other name may fold to: a reader that
// ignores case would take {"SUB": …} for a subject.
func knownClaims() [13]string {
	return [...]string{
		wire.ClaimIssuer, wire.ClaimAudience, wire.ClaimCustomerID, wire.ClaimSessionID, wire.ClaimOrganizationID,
		wire.ClaimIssuedAt, wire.ClaimExpiresAt, wire.ClaimNotBefore, wire.ClaimClientID, wire.ClaimReturnURL, wire.ClaimScope,
		wire.ClaimMemberID, wire.ClaimRole,
	}
}

// parse reads a payload whose signature is good.
func (c *claims) parse(payload []byte) error {
	var wrong error
	// The walk goes on after a wrong claim: whether the payload is strict JSON
	// comes before what it says.
	_, err := ijson.Members(payload, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		if err := c.set(name, v); err != nil && wrong == nil {
			wrong = err
		}
		return nil
	})
	switch {
	case err != nil:
		return errPayload
	case wrong != nil:
		return wrong
	}
	if name := c.missing(); name != "" {
		return &failure{ErrClaims, jwt.ErrTokenRequiredClaimMissing, name + " is missing"}
	}
	if (c.session.MemberID == "") != (c.session.Role == "") {
		return errMember
	}
	c.session.IssuedAt, c.session.ExpiresAt = c.issuedAt.Time, c.expiresAt.Time
	return nil
}

// set reads one claim. Unknown claims are allowed.
func (c *claims) set(name []byte, v ijson.Value) error {
	s := &c.session
	switch string(name) {
	case wire.ClaimIssuer:
		return setText(&s.Issuer, wire.ClaimIssuer, v, wire.MaxStringLength)
	case wire.ClaimAudience:
		return c.setAudience(v)
	case wire.ClaimCustomerID:
		return setUUID(&s.CustomerID, wire.ClaimCustomerID, v)
	case wire.ClaimSessionID:
		return setUUID(&s.ID, wire.ClaimSessionID, v)
	case wire.ClaimOrganizationID:
		return setUUID(&s.OrganizationID, wire.ClaimOrganizationID, v)
	case wire.ClaimIssuedAt:
		return setDate(&c.issuedAt, wire.ClaimIssuedAt, v)
	case wire.ClaimExpiresAt:
		return setDate(&c.expiresAt, wire.ClaimExpiresAt, v)
	case wire.ClaimNotBefore:
		return setDate(&c.notBefore, wire.ClaimNotBefore, v)
	case wire.ClaimClientID:
		return setText(&s.ClientID, wire.ClaimClientID, v, wire.MaxStringLength)
	case wire.ClaimMemberID:
		return setUUID(&s.MemberID, wire.ClaimMemberID, v)
	case wire.ClaimRole:
		return setText(&s.Role, wire.ClaimRole, v, wire.MaxStringLength)
	case wire.ClaimReturnURL:
		return c.setReturnURL(v)
	case wire.ClaimScope:
		return c.setScopes(v)
	}
	for _, known := range knownClaims() {
		if bytes.EqualFold(name, []byte(known)) {
			return errFoldedName
		}
	}
	return nil
}

// missing returns the name of the first required claim that is missing, or "".
// No claim can be present and empty.
func (c *claims) missing() string {
	s := &c.session
	switch {
	case s.Issuer == "":
		return wire.ClaimIssuer
	case s.Audience == nil:
		return wire.ClaimAudience
	case s.CustomerID == "":
		return wire.ClaimCustomerID
	case s.ID == "":
		return wire.ClaimSessionID
	case s.OrganizationID == "":
		return wire.ClaimOrganizationID
	case c.issuedAt.IsZero():
		return wire.ClaimIssuedAt
	case c.expiresAt.IsZero():
		return wire.ClaimExpiresAt
	default:
		return ""
	}
}

func setText(field *string, name string, v ijson.Value, limit int) error {
	text, ok := v.Text()
	if !ok || len(text) == 0 || len(text) > limit || hasControl(text) {
		return badClaim(name, "is not a string of a sensible length without control characters")
	}
	*field = string(text)
	return nil
}

// hasControl reports whether UTF-8 text has a control character: below U+0020,
// or from U+007F to U+009F.
func hasControl(text []byte) bool {
	for i, c := range text {
		if c < ' ' || c == 0x7f || c == 0xc2 && i+1 < len(text) && text[i+1] < 0xa0 {
			return true
		}
	}
	return false
}

// setReturnURL accepts web addresses only: pages make links of a return URL,
// and "javascript:" would make one, too.
func (c *claims) setReturnURL(v ijson.Value) error {
	url := &c.session.ReturnURL
	if err := setText(url, wire.ClaimReturnURL, v, wire.MaxReturnURLLength); err != nil {
		return err
	}
	if !strings.HasPrefix(*url, "https://") && !strings.HasPrefix(*url, "http://") {
		return badClaim(wire.ClaimReturnURL, "is not a web address")
	}
	return nil
}

// setScopes reads scopes separated by spaces (RFC 8693, Section 4.2).
func (c *claims) setScopes(v ijson.Value) error {
	if err := setText(&c.scope[0], wire.ClaimScope, v, wire.MaxStringLength); err != nil {
		return err
	}
	c.session.Scopes = c.scope[:]
	if strings.Contains(c.scope[0], " ") {
		c.session.Scopes = strings.Fields(c.scope[0])
	}
	return nil
}

// setAudience reads a string or a list of strings.
func (c *claims) setAudience(v ijson.Value) error {
	if v.Kind() == ijson.String {
		c.session.Audience = c.audience[:]
		return setText(&c.audience[0], wire.ClaimAudience, v, wire.MaxStringLength)
	}
	var audience []string
	var err error
	ok := v.Elements(func(e ijson.Value) bool {
		var text string
		err = setText(&text, wire.ClaimAudience, e, wire.MaxStringLength)
		audience = append(audience, text)
		return err == nil && len(audience) <= maxAudiences
	})
	if !ok || len(audience) == 0 {
		return badClaim(wire.ClaimAudience, "is not a string or a list of at most 16 strings")
	}
	c.session.Audience = audience
	return nil
}

func setUUID(field *string, name string, v ijson.Value) error {
	text, ok := v.Text()
	if !ok || !isUUID(text) {
		return badClaim(name, "is not a UUID in lower case")
	}
	*field = string(text)
	return nil
}

// isUUID accepts the one form that RFC 9562, Section 4 says to write.
func isUUID(text []byte) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range text {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (c == '-') || !hyphen && !lowerHex[c] {
			return false
		}
	}
	return true
}

// lowerHex has the hexadecimal digits in lower case. Whether the next one is a
// figure or a letter, no processor can predict, so comparing costs more.
//
//nolint:gochecknoglobals // a table must not be made for each token
var lowerHex = [256]bool{
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true,
	'8': true, '9': true, 'a': true, 'b': true, 'c': true, 'd': true, 'e': true, 'f': true,
}

// setDate reads a NumericDate (RFC 7519, Section 2) that is a whole number.
func setDate(field *jwt.NumericDate, name string, v ijson.Value) error {
	seconds, ok := v.Int()
	if !ok || seconds < 1 || seconds > maxDate {
		return badClaim(name, "is not a whole number of seconds before the year 10000")
	}
	field.Time = time.Unix(seconds, 0).UTC()
	return nil
}

// GetExpirationTime implements [jwt.Claims], as do the five methods below. A
// zero "nbf" has always passed.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return &c.expiresAt, nil }

func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return &c.issuedAt, nil }

func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return &c.notBefore, nil }

func (c *claims) GetIssuer() (string, error) { return c.session.Issuer, nil }

func (c *claims) GetSubject() (string, error) { return c.session.CustomerID, nil }

func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.session.Audience, nil }

// onlyExpired reports whether golang-jwt found nothing wrong but the expiry.
func onlyExpired(err error) bool {
	for _, other := range []error{
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return errors.Is(err, jwt.ErrTokenExpired)
}

// claimsFailure returns our error for golang-jwt's, which may be several joined:
// a token for another service is that first, and expired only then.
func claimsFailure(err error) *failure {
	for _, pair := range []struct{ theirs, ours error }{
		{jwt.ErrTokenInvalidIssuer, ErrIssuer},
		{jwt.ErrTokenInvalidAudience, ErrAudience},
		{jwt.ErrTokenExpired, ErrExpired},
		{jwt.ErrTokenNotValidYet, ErrNotYetValid},
		{jwt.ErrTokenUsedBeforeIssued, ErrNotYetValid},
	} {
		if errors.Is(err, pair.theirs) {
			return &failure{pair.ours, err, ""}
		}
	}
	return &failure{ErrClaims, err, ""}
}
