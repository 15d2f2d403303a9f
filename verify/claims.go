package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk/ijson"

	"github.com/customersession/customersession/verify/wire"
)

const (
	maxAudiences = 16
	// maxDate is 9999-12-31T23:59:59Z, the last instant RFC 3339 can write.
	maxDate = 253402300799
)

// claims is a verified payload, and what golang-jwt's validator looks at. Texts
// are parts of the scratch's memory: only what turns out to be good is copied.
type claims struct {
	issuer, customerID, sessionID []byte
	organizationID, returnURL     []byte
	// scope is the text of "scope", nil if there is none.
	scope []byte
	// audiences are the first n of these.
	audiences [maxAudiences][]byte
	n         int
	// Dates are seconds of Unix time, and 0 stands for none.
	issuedAt, expiresAt, notBefore int64
	// wrong is the first claim that is not as it must be.
	wrong error
}

// knownClaims are the names that no other name may fold to: a reader that
// compares names carelessly would take {"SUB": …} for a subject.
func knownClaims() [10]string {
	return [...]string{
		wire.ClaimIssuer, wire.ClaimAudience, wire.ClaimCustomerID, wire.ClaimSessionID, wire.ClaimOrganizationID,
		wire.ClaimIssuedAt, wire.ClaimExpiresAt, wire.ClaimNotBefore, wire.ClaimReturnURL, wire.ClaimScope,
	}
}

// parse reads the payload of a token whose signature is good.
func (c *claims) parse(payload []byte) error {
	// The walk goes on after a wrong claim: whether the payload is JSON with
	// one meaning comes before what it says.
	_, err := ijson.Members(payload, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		if err := c.set(name, v); err != nil && c.wrong == nil {
			c.wrong = err
		}
		return nil
	})
	if err != nil {
		return errPayload
	}
	if c.wrong != nil {
		return c.wrong
	}
	return c.complete()
}

// set takes in one claim. Claims that are not ours pass: strict JSON was all
// they had to be.
func (c *claims) set(name []byte, v ijson.Value) error {
	switch string(name) {
	case wire.ClaimIssuer:
		return setText(&c.issuer, wire.ClaimIssuer, v, wire.MaxStringLength)
	case wire.ClaimAudience:
		return c.setAudience(v)
	case wire.ClaimCustomerID:
		return setUUID(&c.customerID, wire.ClaimCustomerID, v)
	case wire.ClaimSessionID:
		return setUUID(&c.sessionID, wire.ClaimSessionID, v)
	case wire.ClaimOrganizationID:
		return setUUID(&c.organizationID, wire.ClaimOrganizationID, v)
	case wire.ClaimIssuedAt:
		return setDate(&c.issuedAt, wire.ClaimIssuedAt, v)
	case wire.ClaimExpiresAt:
		return setDate(&c.expiresAt, wire.ClaimExpiresAt, v)
	case wire.ClaimNotBefore:
		return setDate(&c.notBefore, wire.ClaimNotBefore, v)
	case wire.ClaimReturnURL:
		return c.setReturnURL(v)
	case wire.ClaimScope:
		return setText(&c.scope, wire.ClaimScope, v, wire.MaxStringLength)
	}
	for _, known := range knownClaims() {
		if len(name) >= len(known) && bytes.EqualFold(name, []byte(known)) {
			return errFoldedName
		}
	}
	return nil
}

// complete reports the first required claim that is missing. None of them can
// be there and empty.
func (c *claims) complete() error {
	var missing string
	switch {
	case c.issuer == nil:
		missing = wire.ClaimIssuer
	case c.n == 0:
		missing = wire.ClaimAudience
	case c.customerID == nil:
		missing = wire.ClaimCustomerID
	case c.sessionID == nil:
		missing = wire.ClaimSessionID
	case c.organizationID == nil:
		missing = wire.ClaimOrganizationID
	case c.issuedAt == 0:
		missing = wire.ClaimIssuedAt
	case c.expiresAt == 0:
		missing = wire.ClaimExpiresAt
	default:
		return nil
	}
	return &failure{ErrClaims, jwt.ErrTokenRequiredClaimMissing, missing + " is missing"}
}

func setText(field *[]byte, name string, v ijson.Value, limit int) error {
	text, ok := v.Text()
	if !ok || !isText(text, limit) {
		return badClaim(name, "is not a string of a sensible length without control characters")
	}
	*field = text
	return nil
}

func isText(text []byte, limit int) bool {
	return len(text) > 0 && len(text) <= limit && !hasControl(text)
}

func (c *claims) setReturnURL(v ijson.Value) error {
	if err := setText(&c.returnURL, wire.ClaimReturnURL, v, wire.MaxReturnURLLength); err != nil {
		return err
	}
	if !isWebAddress(c.returnURL) {
		return badClaim(wire.ClaimReturnURL, "is not a web address")
	}
	return nil
}

// isWebAddress is asked because pages make links of a return URL, and
// "javascript:" would be one, too.
func isWebAddress(url []byte) bool {
	return bytes.HasPrefix(url, []byte("https://")) || bytes.HasPrefix(url, []byte("http://"))
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

func setUUID(field *[]byte, name string, v ijson.Value) error {
	text, ok := v.Text()
	if !ok || !isUUID(text) {
		return badClaim(name, "is not a UUID in lower case")
	}
	*field = text
	return nil
}

// uuidLength is that of a UUID's one form.
const uuidLength = 36

// isUUID accepts the one form that RFC 9562, Section 4 tells to write.
func isUUID(text []byte) bool {
	if len(text) != uuidLength || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	four := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(text[at:])) }
	return areHex(four(0)|four(4)<<32) && areHex(four(9)|four(14)<<32) &&
		areHex(four(19)|four(24)<<32) && areHex(four(28)|four(32)<<32)
}

// areHex reports whether eight bytes are hexadecimal digits in lower case. To
// ask them one by one costs more: what comes next in a UUID, no processor can
// predict.
func areHex(x uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	// In a byte below 0x80, adding 0x80-c sets the high bit when it is c or more.
	digits := (x + (0x80-'0')*ones) &^ (x + (0x80-'9'-1)*ones)
	letters := (x + (0x80-'a')*ones) &^ (x + (0x80-'f'-1)*ones)
	return x&highs == 0 && (digits|letters)&highs == highs
}

// setDate reads a NumericDate (RFC 7519, Section 2) that is a whole number.
func setDate(field *int64, name string, v ijson.Value) error {
	n, ok := v.Int()
	if !ok || !isDate(n) {
		return badClaim(name, "is not a whole number of seconds before the year 10000")
	}
	*field = n
	return nil
}

func isDate(n int64) bool { return 1 <= n && n <= maxDate }

// setAudience reads a string or a list of strings.
func (c *claims) setAudience(v ijson.Value) error {
	c.n = 0
	if v.Kind() == ijson.String {
		return c.addAudience(v)
	}
	var err error
	ok := v.Elements(func(e ijson.Value) bool {
		err = c.addAudience(e)
		return err == nil
	})
	if !ok {
		return badClaim(wire.ClaimAudience, "is not a string or a list of at most 16 strings")
	}
	return nil
}

func (c *claims) addAudience(v ijson.Value) error {
	if c.n == maxAudiences {
		return errAudiences
	}
	c.n++
	return setText(&c.audiences[c.n-1], wire.ClaimAudience, v, wire.MaxStringLength)
}

// isFor reports whether audience is one of the token's.
func (c *claims) isFor(audience string) bool {
	for _, a := range c.audiences[:c.n] {
		if string(a) == audience {
			return true
		}
	}
	return false
}

// text returns the texts that are a session's own, one after the other. All but
// the last one are UUIDs.
func (c *claims) text() string {
	var b strings.Builder
	b.Grow(3*uuidLength + len(c.returnURL))
	b.Write(c.sessionID)
	b.Write(c.customerID)
	b.Write(c.organizationID)
	b.Write(c.returnURL)
	return b.String()
}

func (c *claims) audienceList() []string {
	list := make([]string, c.n)
	for i := range list {
		list[i] = string(c.audiences[i])
	}
	return list
}

// scopeList returns nil when there is no "scope". Scopes are separated by spaces
// (RFC 8693, Section 4.2).
func (c *claims) scopeList() []string {
	if c.scope == nil {
		return nil
	}
	return strings.Fields(string(c.scope))
}

// GetExpirationTime implements [jwt.Claims], as do the five methods below.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(c.expiresAt), nil }

func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return numericDate(c.issuedAt), nil }

func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return numericDate(c.notBefore), nil }

func (c *claims) GetIssuer() (string, error) { return string(c.issuer), nil }

func (c *claims) GetSubject() (string, error) { return string(c.customerID), nil }

func (c *claims) GetAudience() (audiences jwt.ClaimStrings, _ error) {
	for _, a := range c.audiences[:c.n] {
		audiences = append(audiences, string(a))
	}
	return audiences, nil
}

// numericDate returns nil for a claim that is absent, as jwt.Claims wants it.
func numericDate(seconds int64) *jwt.NumericDate {
	if seconds == 0 {
		return nil
	}
	// Not by jwt's constructor: how precise that is, any package may change.
	return &jwt.NumericDate{Time: time.Unix(seconds, 0)}
}

// validate checks what the claims mean; what they are was checked before.
// golang-jwt decides what is wrong with them. Its validator allocates for good
// claims, too, so it is asked about those only that do not plainly hold.
func (v *Verifier) validate(c *claims, now time.Time) error {
	if !v.plainlyHold(c, now) {
		// A copy: what is handed to an interface does not stay on the stack.
		asked := *c
		if err := v.validator.Validate(&asked); err != nil {
			return claimsFailure(err)
		}
	}
	lifetime := c.expiresAt - c.issuedAt
	if lifetime <= 0 || lifetime > int64(v.maxLifetime/time.Second) {
		return errLifetime
	}
	return nil
}

// plainlyHold reports whether golang-jwt's validator would find nothing wrong.
func (v *Verifier) plainlyHold(c *claims, now time.Time) bool {
	early := now.Add(v.leeway).Unix()
	return string(c.issuer) == v.issuer &&
		c.isFor(v.audience) &&
		v.endsAfter(now, c.expiresAt) &&
		early >= c.issuedAt && early >= c.notBefore
}

// endsAfter reports whether what expires at that second has not done so yet.
func (v *Verifier) endsAfter(now time.Time, expiresAt int64) bool {
	return now.Add(-v.leeway).Unix() < expiresAt
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
