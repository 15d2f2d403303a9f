package revocations

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/wire"
)

const (
	// maxLength bounds an answer, unpacked.
	maxLength = 16 << 20
	// maxMembers leaves room for entries with a few members that are not known.
	maxMembers = 8 * maxEntries
	// maxText is the longest text in an answer, in bytes.
	maxText = 255
)

var errAnswer = errors.New("not an answer of the feed")

// parse reads an answer, strictly: each member must be there and of its type.
// Unknown members are ignored.
func parse(body []byte, header http.Header) (*Answer, error) {
	a := &Answer{Nonce: header.Get(wire.RevocationsNonce)}
	var ok bool
	if a.Age, ok = parseAge(header.Get(wire.RevocationsAge)); !ok {
		return nil, errAnswer
	}
	members := 0
	_, err := ijson.Members(body, ijson.Limits{Members: maxMembers}, func(name []byte, v ijson.Value) error {
		known, ok := a.set(name, v)
		if known {
			members++
		}
		if known && !ok {
			return errAnswer
		}
		return nil
	})
	if err != nil || members != 9 { // no name comes twice, so these are the nine
		return nil, errAnswer
	}
	return a, nil
}

// set reads one member, and reports whether it knows it and whether it is good.
func (a *Answer) set(name []byte, v ijson.Value) (known, ok bool) {
	switch string(name) {
	case "issuer":
		a.Issuer, ok = text(v)
	case "enabled":
		ok, a.Enabled = v.Kind() == ijson.Bool, string(v) == "true"
	case "log":
		a.Log, ok = text(v)
	case "seq":
		a.Seq, ok = v.Int()
	case "after":
		a.After, ok = v.Int()
	case "max_age":
		a.MaxAge, ok = v.Int()
	case "pause":
		a.Pause, ok = v.Int()
	case "revoked":
		ok = v.Elements(a.addEntry)
	case "revoked_keys":
		ok = v.Elements(a.addKey)
	default:
		return false, true
	}
	return true, ok
}

// addEntry reads an entry. Of one whose scope is unknown it reads nothing else:
// only those who know the scope know what such an entry looks like.
func (a *Answer) addEntry(v ijson.Value) bool {
	if len(a.Revoked) > maxEntries {
		return true // too many already, as Take will say
	}
	var r wire.Revocation
	hasScope, hasID, bad := false, false, false
	_, err := ijson.Members(v, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		ok := true
		switch string(name) {
		case "scope":
			var scope string
			scope, hasScope = text(v)
			r.Scope = wire.RevocationScope(scope)
		case "id":
			var id []byte
			id, hasID = v.Text()
			ok = hasID && r.ID.UnmarshalText(id) == nil
		case "issued_before":
			r.IssuedBefore, ok = v.Int()
		case "drop_at":
			r.DropAt, ok = v.Int()
		}
		bad = bad || !ok
		return nil
	})
	a.Revoked = append(a.Revoked, r)
	return err == nil && hasScope && (!known(r.Scope) || hasID && !bad)
}

func (a *Answer) addKey(v ijson.Value) bool {
	if len(a.RevokedKeys) > maxKeys {
		return true // the same
	}
	id, ok := text(v)
	a.RevokedKeys = append(a.RevokedKeys, id)
	return ok
}

func text(v ijson.Value) (string, bool) {
	t, ok := v.Text()
	return string(t), ok && len(t) <= maxText
}

// parseAge reads a number of seconds, with or without a fraction.
func parseAge(text string) (age time.Duration, ok bool) {
	if strings.Trim(text, "0123456789.") != "" {
		return 0, false // no sign, no unit
	}
	age, err := time.ParseDuration(text + "s")
	return age, err == nil
}
