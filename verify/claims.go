package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

const (
	maxAudiences = 16
	// maxDate is 9999-12-31T23:59:59Z, the last instant RFC 3339 can write.
	maxDate = 253402300799
)

// claims is a verified payload, and what golang-jwt's validator looks at.
type claims struct {
	session                   Session
	issuedAt, expiresAt, nbf  jwt.NumericDate
	hasNotBefore, hasIssuedAt bool
	hasExpiresAt              bool
	// wrong is the first claim that is not as it must be.
	wrong error
	// text is the whole payload, of which the session's strings are parts, and
	// size the capacity of the slice that was walked.
	text string
	size int
	// token is a copy that may live on, if it is to be remembered.
	token string
	// scopes is the text of "scope".
	scopes string
	// audience holds a list; a single one needs no memory.
	audience [maxAudiences]string
}

// knownClaims are the names that no other name may fold to: a reader that
// compares names carelessly would take {"SUB": …} for a subject.
func knownClaims() [10]string {
	return [...]string{
		ClaimIssuer, ClaimAudience, ClaimCustomerID, ClaimSessionID, ClaimOrganizationID,
		ClaimIssuedAt, ClaimExpiresAt, ClaimNotBefore, ClaimReturnURL, ClaimScope,
	}
}

// parseClaims reads the payload of a token whose signature is good. To
// remember is to keep a copy of the token, too, in the same piece of memory.
func (s *scratch) parseClaims(parts compact, remember bool) (*claims, error) {
	text := parts.payload
	s.claims = claims{size: cap(text)}
	c := &s.claims
	if remember {
		n := len(parts.token)
		kept := string(append(s.token[:n], text...))
		c.token, c.text = kept[:n], kept[n:]
	} else {
		c.text = string(text)
	}
	// The walk goes on after a wrong claim: whether the payload is JSON with
	// one meaning comes before what it says.
	_, err := ijson.Members(text, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		if err := c.set(name, v); err != nil && c.wrong == nil {
			c.wrong = err
		}
		return nil
	})
	if err != nil {
		return nil, errPayload
	}
	if c.wrong != nil {
		return nil, c.wrong
	}
	return c, c.complete()
}

// keep returns a string that outlives the scratch: a part of the payload's
// copy where the bytes are a part of the payload, so that all strings of a
// session cost one allocation.
func (c *claims) keep(part []byte) string {
	start := c.size - cap(part)
	if end := start + len(part); start >= 0 && end <= len(c.text) && c.text[start:end] == string(part) {
		return c.text[start:end]
	}
	return string(part) // it held an escape
}

// set takes in one claim. Claims that are not ours pass: strict JSON was all
// they had to be.
func (c *claims) set(name []byte, v ijson.Value) error {
	s := &c.session
	switch string(name) {
	case ClaimIssuer:
		return c.setText(&s.Issuer, ClaimIssuer, v, MaxStringLength)
	case ClaimAudience:
		return c.setAudience(v)
	case ClaimCustomerID:
		return c.setUUID(&s.CustomerID, ClaimCustomerID, v)
	case ClaimSessionID:
		return c.setUUID(&s.ID, ClaimSessionID, v)
	case ClaimOrganizationID:
		return c.setUUID(&s.OrganizationID, ClaimOrganizationID, v)
	case ClaimIssuedAt:
		c.hasIssuedAt = true
		return setDate(&c.issuedAt, ClaimIssuedAt, v)
	case ClaimExpiresAt:
		c.hasExpiresAt = true
		return setDate(&c.expiresAt, ClaimExpiresAt, v)
	case ClaimNotBefore:
		c.hasNotBefore = true
		return setDate(&c.nbf, ClaimNotBefore, v)
	case ClaimReturnURL:
		return c.setReturnURL(v)
	case ClaimScope:
		return c.setText(&c.scopes, ClaimScope, v, MaxStringLength)
	}
	for _, known := range knownClaims() {
		if len(name) >= len(known) && bytes.EqualFold(name, []byte(known)) {
			return errFoldedName
		}
	}
	return nil
}

// complete reports the first required claim that is missing.
func (c *claims) complete() error {
	s := &c.session
	var missing string
	switch {
	case s.Issuer == "":
		missing = ClaimIssuer
	case len(s.Audience) == 0:
		missing = ClaimAudience
	case s.CustomerID == "":
		missing = ClaimCustomerID
	case s.ID == "":
		missing = ClaimSessionID
	case s.OrganizationID == "":
		missing = ClaimOrganizationID
	case !c.hasIssuedAt:
		missing = ClaimIssuedAt
	case !c.hasExpiresAt:
		missing = ClaimExpiresAt
	default:
		s.IssuedAt, s.ExpiresAt = c.issuedAt.Time, c.expiresAt.Time
		return nil
	}
	return &failure{ErrClaims, jwt.ErrTokenRequiredClaimMissing, missing + " is missing"}
}

// sessionIn returns the session with lists of its own: audience and scopes are
// put into list, which has room for them.
func (c *claims) sessionIn(list []string) Session {
	session := c.session
	n := copy(list, session.Audience)
	session.Audience = list[:n:n]
	rest := list[n:n]
	switch {
	case c.scopes == "":
	case strings.IndexByte(c.scopes, ' ') < 0:
		rest = append(rest, c.scopes)
		session.Scopes = rest
	default:
		for scope := range strings.FieldsSeq(c.scopes) {
			rest = append(rest, scope)
		}
		session.Scopes = slices.Clip(rest)
	}
	return session
}

// lists is how many strings sessionIn needs room for, at most. Scopes are
// separated by spaces (RFC 8693, Section 4.2).
func (c *claims) lists() int {
	return len(c.session.Audience) + 1 + strings.Count(c.scopes, " ")
}

func (c *claims) setText(field *string, name string, v ijson.Value, limit int) error {
	text, ok := v.Text()
	if !ok || len(text) == 0 || len(text) > limit || hasControl(text) {
		return badClaim(name, "is not a string of a sensible length without control characters")
	}
	*field = c.keep(text)
	return nil
}

// setReturnURL wants a web address: pages make links of it, and "javascript:"
// would be one, too.
func (c *claims) setReturnURL(v ijson.Value) error {
	field := &c.session.ReturnURL
	if err := c.setText(field, ClaimReturnURL, v, MaxReturnURLLength); err != nil {
		return err
	}
	if !strings.HasPrefix(*field, "https://") && !strings.HasPrefix(*field, "http://") {
		return badClaim(ClaimReturnURL, "is not a web address")
	}
	return nil
}

// hasControl looks at eight bytes at a time, as long as none of them is a
// control or beyond ASCII.
func hasControl(text []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		if (x|(x-' '*ones)|((x^0x7f*ones)-ones))&highs != 0 {
			break
		}
	}
	for i, c := range text {
		if c >= utf8.RuneSelf {
			return bytes.ContainsFunc(text[i:], unicode.IsControl)
		}
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

func (c *claims) setUUID(field *string, name string, v ijson.Value) error {
	text, ok := v.Text()
	if !ok || !isUUID(text) {
		return badClaim(name, "is not a UUID in lower case")
	}
	*field = c.keep(text)
	return nil
}

// isUUID accepts the one form that RFC 9562, Section 4 tells to write.
func isUUID(text []byte) bool {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	dashes := 0
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		case c == '-':
			dashes++
		default:
			return false
		}
	}
	return dashes == 4
}

// setDate reads a NumericDate (RFC 7519, Section 2) that is a whole number.
func setDate(field *jwt.NumericDate, name string, v ijson.Value) error {
	n, ok := v.Int()
	if !ok || n < 1 || n > maxDate {
		return badClaim(name, "is not a whole number of seconds before the year 10000")
	}
	field.Time = time.Unix(n, 0).UTC()
	return nil
}

// setAudience reads a string or a list of strings.
func (c *claims) setAudience(v ijson.Value) error {
	c.session.Audience = c.audience[:0]
	if v.Kind() == ijson.String {
		return c.addAudience(v)
	}
	var err error
	ok := v.Elements(func(e ijson.Value) bool {
		err = c.addAudience(e)
		return err == nil
	})
	if !ok {
		return badClaim(ClaimAudience, "is not a string or a list of at most 16 strings")
	}
	return nil
}

func (c *claims) addAudience(v ijson.Value) error {
	n := len(c.session.Audience)
	if n == maxAudiences {
		return errAudiences
	}
	c.session.Audience = c.audience[:n+1]
	return c.setText(&c.audience[n], ClaimAudience, v, MaxStringLength)
}

// GetExpirationTime implements [jwt.Claims], as do the five methods below.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return &c.expiresAt, nil }

func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return &c.issuedAt, nil }

func (c *claims) GetNotBefore() (*jwt.NumericDate, error) {
	if !c.hasNotBefore {
		return nil, nil //nolint:nilnil // jwt.Claims: nil means the claim is absent
	}
	return &c.nbf, nil
}

func (c *claims) GetIssuer() (string, error) { return c.session.Issuer, nil }

func (c *claims) GetSubject() (string, error) { return c.session.CustomerID, nil }

func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.session.Audience, nil }

// validate checks what the claims mean; what they are was checked before.
// golang-jwt decides what is wrong with them. Its validator allocates for good
// claims, too, so it is asked about those only that do not plainly hold.
func (v *Verifier) validate(c *claims) error {
	if !v.plainlyHold(c, time.Now()) {
		if err := v.validator.Validate(c); err != nil {
			return claimsFailure(err)
		}
	}
	lifetime := c.expiresAt.Sub(c.issuedAt.Time)
	if lifetime <= 0 || lifetime > v.maxLifetime {
		return errLifetime
	}
	return nil
}

// plainlyHold reports whether golang-jwt's validator would find nothing wrong.
func (v *Verifier) plainlyHold(c *claims, now time.Time) bool {
	return c.session.Issuer == v.issuer &&
		slices.Contains(c.session.Audience, v.audience) &&
		now.Before(c.expiresAt.Add(v.leeway)) &&
		!now.Before(c.issuedAt.Add(-v.leeway)) &&
		(!c.hasNotBefore || !now.Before(c.nbf.Add(-v.leeway)))
}

// claimsFailure finds our error for one of golang-jwt's, which may be several
// joined: a token for somebody else is that first, and expired only then.
func claimsFailure(err error) error {
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
