package ijson

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Reasons to refuse a text that callers distinguish.
var (
	// ErrNotObject: the text does not begin with an object.
	ErrNotObject = errors.New("not a JSON object")
	// ErrDuplicate: two members of one object have the same name.
	ErrDuplicate = errors.New("member name used twice in one object")
)

// The other reasons to refuse a text. They are plain values, so that refusing
// costs no allocation; the functions that return them also say where.
var (
	errTooLong   = errors.New("longer than 2 GiB")
	errSyntax    = errors.New("not valid JSON")
	errBOM       = fmt.Errorf("%w: it begins with a byte order mark (EF BB BF), which some editors write; save it as UTF-8 without one", ErrNotObject)
	errEnd       = fmt.Errorf("%w: the text ends too early", errSyntax)
	errValue     = fmt.Errorf("%w: a value is expected", errSyntax)
	errMember    = fmt.Errorf("%w: a name in double quotes is expected", errSyntax)
	errColon     = fmt.Errorf("%w: a colon is expected", errSyntax)
	errNext      = fmt.Errorf("%w: a comma or the closing bracket is expected", errSyntax)
	errLastComma = fmt.Errorf("%w: there is a trailing comma before this bracket; remove it", errSyntax)
	errControl   = fmt.Errorf("%w: raw control character in a string", errSyntax)
	errEscape    = fmt.Errorf("%w: unknown escape in a string", errSyntax)
	errNumber    = fmt.Errorf("%w: a digit is expected", errSyntax)
	errTrailing  = errors.New("data after the JSON object")
	errUTF8      = errors.New("not valid UTF-8")
	errSurrogate = errors.New("lone surrogate in a string")
	errDepth     = errors.New("nested too deeply")
	errMembers   = errors.New("too many members")
	errName      = errors.New("member name is not lower-case ASCII")
)

// Limits bounds a text. A zero field means its default.
type Limits struct {
	// Depth is how deep objects and arrays may be nested, the top-level object
	// included. Default: 8.
	Depth int
	// Members is how many members all objects together may have, of which one
	// object may have 4096. Default: 64.
	Members int
}

const (
	defaultDepth   = 8
	defaultMembers = 64
	// maxNames bounds one object, as its names are compared with each other.
	maxNames = 4096
)

// Members checks all of data and calls visit, in order, with the unescaped name
// and the value of each member of the top-level object. Both are only valid
// during the call, and visit must not change them. An error of visit ends the
// walk and is returned as it is. Members before a refused one have been
// visited, so the caller must keep nothing unless err is nil.
//
// The offset is the number of bytes read; after an error, the position of the
// first byte that was refused, or the end of the member that visit refused.
func Members(data []byte, limits Limits, visit func(name []byte, value Value) error) (offset int, err error) {
	var s scanner // set field by field: a literal would be copied
	s.data, s.limits = data, limits.orDefault()
	err = s.document(visit)
	return s.pos, err
}

func (l Limits) orDefault() Limits {
	if l.Depth == 0 {
		l.Depth = defaultDepth
	}
	if l.Members == 0 {
		l.Members = defaultMembers
	}
	return l
}

// A scanner is one pass over one text.
type scanner struct {
	data   []byte
	pos    int
	limits Limits
	depth  int
	names  names
	// members counts the members of all objects, closed ones included.
	members int
	// lowerCase refuses names that encoding/json could match to a field with
	// another spelling.
	lowerCase bool
}

func (s *scanner) document(visit func([]byte, Value) error) error {
	if len(s.data) > math.MaxInt32 {
		return errTooLong
	}
	if s.token() != '{' {
		if bytes.HasPrefix(s.data[s.pos:], []byte("\ufeff")) {
			return errBOM
		}
		return ErrNotObject
	}
	if err := s.object(visit); err != nil {
		return err
	}
	if s.token(); s.pos != len(s.data) {
		return errTrailing
	}
	return nil
}

// peek returns the next byte, or 0 at the end, as no token starts with NUL.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// token skips white space and then peeks.
func (s *scanner) token() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c > ' ':
			return c
		case c == ' ', c == '\t', c == '\n', c == '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// value skips a value whose first byte is c.
func (s *scanner) value(c byte) error {
	switch {
	case c == '"':
		_, err := s.str()
		return err
	case c == '{':
		return s.object(nil)
	case c == '[':
		return s.array()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return s.expected(errValue)
	}
}

// expected returns the error for a text that has something else here.
func (s *scanner) expected(what error) error {
	if s.pos == len(s.data) {
		return errEnd
	}
	return what
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return errValue
	}
	s.pos += len(word)
	return nil
}

// open enters an object or array. If that is empty, it leaves it again and
// reports so.
func (s *scanner) open(closing byte) (empty bool, err error) {
	if s.depth == s.limits.Depth {
		return false, errDepth
	}
	s.pos++
	if s.token() == closing {
		s.pos++
		return true, nil
	}
	s.depth++
	return false, nil
}

// next skips the comma between two elements, or the closing bracket, and reports
// whether it was the bracket.
func (s *scanner) next(closing byte) (done bool, err error) {
	switch s.token() {
	case ',':
		s.pos++
		return false, nil
	case closing:
		s.pos++
		s.depth--
		return true, nil
	default:
		return false, s.expected(errNext)
	}
}

func (s *scanner) array() error {
	empty, err := s.open(']')
	if empty || err != nil {
		return err
	}
	for {
		c := s.token()
		if c == ']' {
			return errLastComma
		}
		if err := s.value(c); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) object(visit func([]byte, Value) error) error {
	empty, err := s.open('}')
	if empty || err != nil {
		return err
	}
	first := s.names.len()
	for {
		name, err := s.name(first)
		if err != nil {
			return err
		}
		c := s.token()
		start := s.pos
		if err := s.value(c); err != nil {
			return err
		}
		if visit != nil {
			if err := visit(name, Value(s.data[start:s.pos])); err != nil {
				return err
			}
		}
		if done, err := s.next('}'); done || err != nil {
			s.names.cut(first)
			return err
		}
	}
}

// name reads the name of a member and its colon. The names of the same object
// begin at index first.
func (s *scanner) name(first int) ([]byte, error) {
	if c := s.token(); c != '"' {
		if c == '}' {
			return nil, errLastComma
		}
		return nil, s.expected(errMember)
	}
	start := s.pos
	escaped, err := s.str()
	if err != nil {
		return nil, err
	}
	name := s.data[start+1 : s.pos-1]
	if escaped {
		name = unescape(nil, name)
	}
	if err := s.noteName(name, start+1, escaped, first); err != nil {
		s.pos = start
		return nil, err
	}
	if s.token() != ':' {
		return nil, s.expected(errColon)
	}
	s.pos++
	return name, nil
}

func (s *scanner) noteName(name []byte, start int, escaped bool, first int) error {
	if s.members == s.limits.Members || s.names.len()-first == maxNames {
		return errMembers
	}
	if !s.names.add(s.data, name, start, escaped, first) {
		return ErrDuplicate
	}
	if s.lowerCase && !isLowerCase(name) {
		return errName
	}
	s.members++
	return nil
}

func isLowerCase(name []byte) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// str skips a string and reports whether it holds an escape.
func (s *scanner) str() (escaped bool, err error) {
	data := s.data
	for i := s.pos + 1; i < len(data); {
		c := data[i]
		if plain[c] {
			i++
			continue
		}
		if c == '"' {
			s.pos = i + 1
			return escaped, nil
		}
		s.pos = i
		switch {
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return escaped, err
			}
			i = s.pos
		case c < ' ':
			return escaped, errControl
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return escaped, errUTF8
			}
			i += size
		}
	}
	s.pos = len(data)
	return escaped, errEnd
}

func (s *scanner) escape() error {
	rest := s.data[s.pos:]
	if len(rest) < 2 {
		return errEnd
	}
	switch rest[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	case 'u':
		_, size := decodeUnicode(rest)
		switch size {
		case 0:
			return errEscape
		case loneSurrogate:
			return errSurrogate
		}
		s.pos += size
		return nil
	default:
		return errEscape
	}
}

// number skips a number (RFC 8259, Section 6).
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
	case '1' <= c && c <= '9':
		s.digits()
	default:
		return s.expected(errNumber)
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.expected(errNumber)
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return s.expected(errNumber)
		}
	}
	return nil
}

func (s *scanner) digits() (n int) {
	rest := s.data[s.pos:]
	for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
		n++
	}
	s.pos += n
	return n
}
