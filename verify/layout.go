package verify

import (
	"bytes"
	"sync/atomic"

	"github.com/customersession/customersession/keys/jwk/ijson"

	"github.com/customersession/customersession/verify/wire"
)

// layouts are those of the last good payloads. Tokens of one issuer have the
// same one, or two: with a "return_url" and without.
type layouts struct {
	known [2]atomic.Pointer[layout]
	// missed counts the payloads that had none of them.
	missed atomic.Uint32
}

// parse reads the payload of a token whose signature is good.
func (l *layouts) parse(c *claims, payload []byte) error {
	for i := range l.known {
		if known := l.known[i].Load(); known != nil && known.parse(c, payload) {
			return nil
		}
	}
	*c = claims{}
	if err := c.parse(payload); err != nil {
		return err
	}
	l.learn(payload)
	return nil
}

// learn notes the layout of a payload, unless there are many of them: then one
// in 64 is noted, so that it costs little where it is of no use.
func (l *layouts) learn(payload []byte) {
	const seldom = 64
	missed := l.missed.Add(1) - 1
	if n := uint32(len(l.known)); missed < n || missed%seldom == 0 {
		place := missed
		if missed >= n {
			place = missed / seldom % n
		}
		l.known[place].Store(newLayout(payload))
	}
}

// A layout is a payload that was read as JSON, and where in it the values stand
// that differ from token to token. A payload with the same text around them
// says the same but for these values, as long as they are of a kind that cannot
// end before that text goes on: a UUID, a URL in ASCII without quotes and
// escapes, digits. So it need not be read as JSON once more, which takes several
// times as long.
type layout struct {
	text []byte
	// claims are those of text, and parts of it.
	claims claims
	gaps   []gap
}

// A gap is where a value stands, without its quotes.
type gap struct {
	start, end int
	claim      variable
}

// A variable is a claim that differs from token to token.
type variable int

const (
	customerID variable = iota + 1
	sessionID
	organizationID
	issuedAt
	expiresAt
	returnURL
)

func variableOf(name string) variable {
	switch name {
	case wire.ClaimCustomerID:
		return customerID
	case wire.ClaimSessionID:
		return sessionID
	case wire.ClaimOrganizationID:
		return organizationID
	case wire.ClaimIssuedAt:
		return issuedAt
	case wire.ClaimExpiresAt:
		return expiresAt
	case wire.ClaimReturnURL:
		return returnURL
	default:
		return 0
	}
}

// newLayout takes a payload that was read without an error.
func newLayout(payload []byte) *layout {
	l := &layout{text: bytes.Clone(payload)}
	// Once more, because claims are parts of what they are read from.
	if l.claims.parse(l.text) != nil {
		return nil
	}
	_, err := ijson.Members(l.text, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		claim := variableOf(string(name))
		if claim == 0 {
			return nil
		}
		start := cap(l.text) - cap(v) // v is a part of it
		end := start + len(v)
		if v.Kind() == ijson.String {
			start, end = start+1, end-1
		}
		// Whoever writes escapes, or more than ASCII, writes them again: they
		// stay text.
		if ijson.PlainPrefix(l.text[start:end]) == end-start {
			l.gaps = append(l.gaps, gap{start, end, claim})
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return l
}

// parse reads a payload that has this layout, and reports whether it has. Where
// not, c is worth nothing.
func (l *layout) parse(c *claims, payload []byte) bool {
	*c = l.claims
	at := 0
	for _, g := range l.gaps {
		before := l.text[at:g.start]
		if !bytes.HasPrefix(payload, before) {
			return false
		}
		payload = payload[len(before):]
		size := c.setVariable(g.claim, payload)
		if size == 0 {
			return false
		}
		payload, at = payload[size:], g.end
	}
	return bytes.Equal(payload, l.text[at:])
}

// setVariable takes in the value at the start of rest and returns its length, 0
// when it is not as it must be.
func (c *claims) setVariable(claim variable, rest []byte) int {
	switch claim {
	case customerID:
		return takeUUID(&c.customerID, rest)
	case sessionID:
		return takeUUID(&c.sessionID, rest)
	case organizationID:
		return takeUUID(&c.organizationID, rest)
	case issuedAt:
		return takeDate(&c.issuedAt, rest)
	case expiresAt:
		return takeDate(&c.expiresAt, rest)
	case returnURL:
		url := rest[:ijson.PlainPrefix(rest)]
		if !isText(url, wire.MaxReturnURLLength) || !isWebAddress(url) {
			return 0
		}
		c.returnURL = url
		return len(url)
	default:
		return 0
	}
}

func takeUUID(field *[]byte, rest []byte) int {
	if len(rest) < uuidLength || !isUUID(rest[:uuidLength]) {
		return 0
	}
	*field = rest[:uuidLength]
	return uuidLength
}

func takeDate(field *int64, rest []byte) int {
	const most = 12 // digits of the last date
	size, n := 0, int64(0)
	for size < len(rest) && '0' <= rest[size] && rest[size] <= '9' {
		if size == most {
			return 0
		}
		n = n*10 + int64(rest[size]-'0')
		size++
	}
	if !isDate(n) || rest[0] == '0' { // JSON has no leading zeros
		return 0
	}
	*field = n
	return size
}
