package organizations

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// object is a JSON object of the file and its path. Its methods add a problem
// and report false when a member is wrong.
type object struct {
	*problems
	at      string
	members map[string]any
}

// object returns value as an object that has only known members.
func (p *problems) object(at string, value any, known ...string) (object, bool) {
	members, ok := value.(map[string]any)
	if !ok {
		p.add(at, "must be an object")
		return object{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(known, name) {
			p.add(member(at, name), "unknown member")
		}
	}
	return object{p, at, members}, true
}

// path returns the path of a member.
func (o object) path(name string) string { return member(o.at, name) }

// absent reports whether an optional member is left out.
func (o object) absent(name string) bool { return o.members[name] == nil }

// text returns a required string.
func (o object) text(name string) (string, bool) {
	if o.absent(name) {
		o.add(o.path(name), "is missing")
		return "", false
	}
	text, ok := o.members[name].(string)
	if !ok {
		o.add(o.path(name), "must be a string")
	}
	if strings.ContainsRune(text, unicode.ReplacementChar) {
		o.add(o.path(name), "holds damaged text (U+FFFD)") // by another decoder
	}
	return text, ok
}

// boolean returns an optional boolean, false when it is absent.
func (o object) boolean(name string) bool {
	value, ok := o.members[name].(bool)
	if !ok && !o.absent(name) {
		o.add(o.path(name), "must be true or false")
	}
	return value
}

// list returns a list, empty when it is absent.
func (o object) list(name string) []any {
	list, ok := o.members[name].([]any)
	if !ok && !o.absent(name) {
		o.add(o.path(name), "must be a list")
	}
	return list
}
